package httpapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"veto/node/httpapi"
	"veto/record"
)

func TestCondition(t *testing.T) {
	at := func(r ...record.Revision) record.Condition {
		return record.Condition{When: record.WhenRevision, Revisions: r}
	}
	many := strings.TrimSuffix(strings.Repeat(`"1",`, record.MaxConditions), ",")
	for name, c := range map[string]struct {
		match, none []string
		want        record.Condition
		bad         bool
	}{
		"nothing":               {want: record.Condition{}},
		"one":                   {match: []string{`"42"`}, want: at(42)},
		"several":               {match: []string{`"42" , "7",,`}, want: at(42, 7)},
		"several lines":         {match: []string{`"42"`, `"7"`}, want: at(42, 7)},
		"any":                   {match: []string{" * "}, want: record.Condition{When: record.WhenThere}},
		"weak never matches":    {match: []string{`W/"42"`}, want: at()},
		"weak beside strong":    {match: []string{`W/"42", "7"`}, want: at(7)},
		"of another server":     {match: []string{`"abc,def"`}, want: at()},
		"not as it is written":  {match: []string{`"042"`, `"+42"`, `""`, `"0"`}, want: at()},
		"most":                  {match: []string{many}, want: at(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)},
		"only make":             {none: []string{"*"}, want: record.Condition{When: record.WhenAbsent}},
		"too many":              {match: []string{many, `"2"`}, bad: true},
		"no quotes":             {match: []string{"42"}, bad: true},
		"one quote":             {match: []string{`"42`}, bad: true},
		"only W/":               {match: []string{`W/`}, bad: true},
		"small w":               {match: []string{`w/"42"`}, bad: true},
		"text behind":           {match: []string{`"42"x`}, bad: true},
		"no comma":              {match: []string{`"42" "43"`}, bad: true},
		"space in a tag":        {match: []string{`"4 2"`}, bad: true},
		"empty":                 {match: []string{""}, bad: true},
		"commas":                {match: []string{" , "}, bad: true},
		"star beside a tag":     {match: []string{`*, "42"`}, bad: true},
		"two stars":             {match: []string{"*", "*"}, bad: true},
		"none of a tag":         {none: []string{`"42"`}, bad: true},
		"none of nothing":       {none: []string{""}, bad: true},
		"there and not there":   {match: []string{"*"}, none: []string{"*"}, bad: true},
		"none twice":            {none: []string{"*", "*"}, bad: true},
		"as long as may be":     {match: []string{`"18446744073709551615"`}, want: at(1<<64 - 1)},
		"longer than it may be": {match: []string{`"18446744073709551616"`}, want: at()},
	} {
		got, err := httpapi.Condition(c.match, c.none)
		var problem *httpapi.Problem
		if c.bad != errors.As(err, &problem) || c.bad && problem.Status != 400 {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, got); !c.bad && d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{`"1"`, `W/"1", "2"`, "*", `,"`, `"a,b" , `} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, match, none string) {
		c, err := httpapi.Condition([]string{match}, nil)
		if _, errNone := httpapi.Condition(nil, []string{none}); errNone == nil && strings.Trim(none, " \t") != "*" {
			t.Errorf("%q is taken", none)
		}
		if err != nil {
			return
		}
		if c.When != record.WhenThere && c.When != record.WhenRevision || len(c.Revisions) > record.MaxConditions {
			t.Fatalf("%q: %+v", match, c)
		}
		for _, r := range c.Revisions {
			if !strings.Contains(match, httpapi.ETag(r)) {
				t.Errorf("%q matches %d", match, r)
			}
		}
	})
}
