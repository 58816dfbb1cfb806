package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"veto/record"
)

// ETag is the entity tag of a record at the revision; empty if there is none.
func ETag(r record.Revision) string {
	if r == 0 {
		return ""
	}
	return `"` + strconv.FormatUint(uint64(r), 10) + `"`
}

// Condition reads the lines of If-Match and of If-None-Match (RFC 9110 section 13.1). Of the latter only
// * is taken: that there is no such record yet. What is malformed gives a *Problem.
func Condition(match, noneMatch []string) (record.Condition, error) {
	switch {
	case len(match) == 0 && len(noneMatch) == 0:
		return record.Condition{}, nil
	case len(match) > 0 && len(noneMatch) > 0:
		return record.Condition{}, malformed("give If-Match or If-None-Match, not both: no record meets both")
	case len(noneMatch) > 0:
		if len(noneMatch) > 1 || strings.Trim(noneMatch[0], " \t") != "*" {
			return record.Condition{}, malformed("If-None-Match: only * is taken, so that what is there already is not replaced")
		}
		return record.Condition{When: record.WhenAbsent}, nil
	}
	list := strings.Join(match, ",")
	if strings.Trim(list, " \t") == "*" {
		return record.Condition{When: record.WhenThere}, nil
	}
	tags, ok := entityTags(list)
	if !ok || len(tags) > record.MaxConditions {
		return record.Condition{}, malformed(`If-Match: give * or entity tags as they were answered, with their quotes, such as "42"; at most ` + strconv.Itoa(record.MaxConditions))
	}
	c := record.Condition{When: record.WhenRevision}
	for _, t := range tags {
		if r := revisionOf(t); r != 0 {
			c.Revisions = append(c.Revisions, r)
		}
	}
	return c, nil
}

func malformed(detail string) *Problem { return New(http.StatusBadRequest, "bad_request", detail) }

// revisionOf is 0 of a tag that no record has: a weak one, which never matches, or another's.
func revisionOf(tag string) record.Revision {
	n, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil || ETag(record.Revision(n)) != tag {
		return 0
	}
	return record.Revision(n)
}

// entityTags splits a list of entity tags; commas may be within one, and elements may be empty (RFC
// 9110 sections 5.6.1 and 8.8.3).
func entityTags(list string) (tags []string, ok bool) {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return tags, len(tags) > 0
		}
		weak := 0
		if strings.HasPrefix(list, "W/") {
			weak = len("W/")
		}
		if len(list) < weak+2 || list[weak] != '"' {
			return nil, false
		}
		end := strings.IndexByte(list[weak+1:], '"') + weak + 1
		if end <= weak || strings.ContainsFunc(list[weak+1:end], func(c rune) bool { return c <= ' ' || c == 0x7f }) {
			return nil, false
		}
		tags = append(tags, list[:end+1])
		list = strings.TrimLeft(list[end+1:], " \t")
		if list != "" && list[0] != ',' {
			return nil, false
		}
	}
}
