package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/record"
	"veto/record/limit"
	"veto/validate"
)

func newValidate(r *remote) *cobra.Command {
	var q client.Question
	var min uint64
	var explain bool
	c := &cobra.Command{
		Use:   "validate TOKEN|-",
		Short: "Ask whether a JWT or an API key may still be used",
		Long:  "Asks a data plane. With - the credential is read from standard input, where others on\nthis machine cannot see it.\n\nExit codes: 0 allow, 1 deny, 2 unknown, 3 could not be asked.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.MinRevision = record.Revision(min)
			v, err := ask(cmd, r, q, args[0], explain)
			if err != nil {
				return &exit{exitAsk, err}
			}
			if v.Outcome == validate.Allow {
				return nil
			}
			return &exit{code: map[validate.Outcome]int{validate.Deny: exitDeny, validate.Unknown: exitUnknown}[v.Outcome]}
		},
	}
	c.Flags().StringVar(&q.Audience, "audience", "", "audience that the credential must have")
	c.Flags().StringSliceVar(&q.Scopes, "scope", nil, "scopes that the credential must have")
	c.Flags().BoolVar(&explain, "explain", false, "show every check; takes an operator's key with the role validator")
	c.Flags().Var((*span)(&q.MaxStaleness), "max-staleness", "how old the state may be that the answer is based on, such as 5s (the node's and the issuer's bounds if not given)")
	c.Flags().Func("cost", "what the request counts for where the key has limits: a `number` (1 if not given)", fromOne(&q.Cost, limit.MaxCost))
	c.Flags().Uint64Var(&min, "min-revision", 0, "revision that the answer must at least be based on")
	return c
}

func ask(cmd *cobra.Command, r *remote, q client.Question, arg string, explain bool) (validate.Verdict, error) {
	api, err := r.client()
	if err != nil {
		return validate.Verdict{}, err
	}
	if q.Credential, err = secretArg(cmd.InOrStdin(), arg); err != nil {
		return validate.Verdict{}, err
	}
	decide := api.Validate
	if explain {
		decide = api.Explain
	}
	v, err := decide(cmd.Context(), q)
	if err != nil {
		return v, err
	}
	out := &printer{w: cmd.OutOrStdout(), json: r.output == "json"}
	pairs := []any{
		"outcome", v.Outcome, "code", v.Code, "kind", v.Kind, "issuer", v.Issuer, "subject", v.Subject, "client", v.Client,
		"consumer", v.Consumer, "key", v.KeyID, "scopes", words(v.Scopes), "missing", words(v.MissingScopes), "expires", moment(v.ExpiresAt),
		"revision", v.Revision, "as of", moment(v.AsOf),
	}
	if r := v.RateLimit; r.Limit > 0 {
		pairs = append(pairs, "rate", fmt.Sprintf("%d left of a burst of %d, whole again in %ds", r.Remaining, r.Burst, r.Reset))
	}
	if q := v.Quota; q.Limit > 0 {
		pairs = append(pairs, "quota", fmt.Sprintf("%d left of %d, for %s", q.Remaining, q.Limit, time.Duration(q.Reset)*time.Second))
	}
	if v.RateLimit.RetryAfter > 0 {
		pairs = append(pairs, "retry after", fmt.Sprintf("%ds", v.RateLimit.RetryAfter))
	}
	if v.Rotating {
		pairs = append(pairs, "old secret", "replaced by another; it stops when it expires")
	}
	if v.Revocation != nil {
		pairs = append(pairs, "revoked by", v.Revocation.ID, "target", v.Revocation.Target, "reason", v.Revocation.Reason)
	}
	if err := out.fields(v, pairs...); err != nil || !explain || out.json {
		return v, err
	}
	var rows [][]any
	for _, c := range v.Checks {
		rows = append(rows, []any{c.Check, c.Result, c.Code, c.Detail})
	}
	return v, errors.Join(out.line(""), out.show(nil, []string{"check", "result", "code", "what was looked at"}, rows))
}

const maxSecret = 64 << 10

// secretArg is the argument, or standard input if the argument is -.
func secretArg(in io.Reader, arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSecret))
	if err == nil && len(strings.TrimSpace(string(b))) == 0 {
		err = fmt.Errorf("standard input is empty")
	}
	return strings.TrimSpace(string(b)), err
}

// defaultLimit is what --limit is if it is not given.
const defaultLimit = 100

// search reads pages until there are as many items as wanted: a page may have fewer, and more follow.
func search[T any](l client.List, page func(client.List) (client.Page[T], error)) (client.Page[T], error) {
	left := cmp.Or(l.Limit, defaultLimit)
	all := client.Page[T]{Items: []T{}}
	for {
		l.Limit = left
		p, err := page(l)
		if err != nil {
			return all, err
		}
		all.Items, all.NextCursor = append(all.Items, p.Items...), p.NextCursor
		left, l.Cursor = left-len(p.Items), p.NextCursor
		if l.Cursor == "" || left <= 0 {
			return all, nil
		}
	}
}

func listFlags(c *cobra.Command, l *client.List) {
	c.Flags().StringVar(&l.Cursor, "cursor", "", "next_cursor of the page before")
	c.Flags().Func("limit", fmt.Sprintf("at most this `number`, up to %d (%d if not given)", client.MaxLimit, defaultLimit), fromOne(&l.Limit, client.MaxLimit))
}
