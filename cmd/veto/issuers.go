package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/node/certs"
	"veto/record"
)

func newIssuers(r *remote) *cobra.Command {
	c := &cobra.Command{Use: "issuers", Short: "See and change whose tokens are trusted"}
	c.AddCommand(
		r.command("list", "List the trusted issuers", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
			page, err := c.Issuers(ctx)
			if err != nil {
				return err
			}
			return out.show(page, issuerHead, issuerRows(page.Items))
		}),
		r.command("get ID", "Show an issuer", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			i, err := c.Issuer(ctx, args[0])
			if err != nil {
				return err
			}
			return out.show(i, issuerHead, issuerRows([]record.Issuer{i}))
		}),
		onlyIf(newIssuersPut(r)),
		r.command("keys ID", "List an issuer's signing keys", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			page, err := c.SigningKeys(ctx, args[0])
			return showSigningKeys(page, err, out)
		}),
		r.command("refresh ID", "Fetch an issuer's keys now", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			page, err := c.RefreshIssuer(ctx, args[0])
			return showSigningKeys(page, err, out)
		}),
		onlyIf(r.command("delete ID", "Trust an issuer no more", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
			v, err := c.DeleteIssuer(ctx, args[0])
			if err != nil {
				return err
			}
			return out.fields(v, "deleted", args[0], "revision", v.Revision)
		})),
	)
	return c
}

func newIssuersPut(r *remote) *cobra.Command {
	var rules client.Rules
	var jwksFile, secretFile string
	var operators operatorFlags
	c := r.command("put ID", "Trust an issuer, or change its rules", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string, out *printer) error {
		if jwksFile != "" {
			b, err := os.ReadFile(jwksFile)
			if err != nil {
				return fmt.Errorf("--jwks-file: %w", err)
			}
			if rules.JWKS = b; !json.Valid(b) {
				return &exit{exitUsage, fmt.Errorf("--jwks-file: %s is not JSON", jwksFile)}
			}
		}
		if secretFile != "" {
			b, err := certs.ReadSecret(secretFile)
			if err != nil {
				return fmt.Errorf("--shared-secret-file: %w", err)
			}
			if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
				return &exit{exitUsage, fmt.Errorf("--shared-secret-file: %s is empty", secretFile)}
			}
			rules.SharedSecret = base64.RawURLEncoding.EncodeToString(b)
		}
		var err error
		if rules.Operators, err = operators.read(); err != nil {
			return err
		}
		i, err := c.PutIssuer(ctx, args[0], rules)
		if err != nil {
			return err
		}
		return out.show(i, issuerHead, issuerRows([]record.Issuer{i}))
	})
	f := c.Flags()
	f.StringVar(&rules.Issuer, "issuer", "", "the exact iss of its tokens")
	f.StringVar(&rules.Discovery, "discovery", "", "URL of its metadata document")
	f.StringVar(&rules.JWKSURI, "jwks-uri", "", "URL of its JWK set")
	f.StringVar(&jwksFile, "jwks-file", "", "file with its JWK set")
	f.StringVar(&secretFile, "shared-secret-file", "", "file with the secret of its HMAC signatures, as it is")
	f.StringVar(&rules.Preset, "preset", "", "fill in what such an issuer's tokens are like: "+words(record.Presets()))
	f.StringToStringVar(&rules.Required, "require", nil, "claims that a token must have, such as token_use=access, or with any value: sub=")
	f.StringSliceVar(&rules.Claims.Subject, "subject-claim", nil, "claim with the subject (sub)")
	f.StringSliceVar(&rules.Claims.JTI, "jti-claim", nil, "claim with the token's id (jti)")
	f.StringSliceVar(&rules.Claims.Client, "client-claim", nil, "claims with the client, of which the first counts (client_id, azp)")
	f.StringSliceVar(&rules.Claims.Session, "session-claim", nil, "claims with the session (sid)")
	f.StringSliceVar(&rules.Claims.Scopes, "scope-claim", nil, "claims with the scopes (scope, scp)")
	f.BoolVar(&rules.AllowNoIssuedAt, "allow-no-issued-at", false, "admit tokens without iat")
	f.StringSliceVar(&rules.Algorithms, "algorithm", nil, "algorithms that its tokens may use")
	f.StringSliceVar(&rules.Audiences, "audience", nil, "audiences of which a token must name one")
	f.StringSliceVar(&rules.Types, "type", nil, "accepted typ headers")
	f.StringVar(&rules.MaxLifetime, "max-lifetime", "", "longest exp - iat, such as 24h")
	f.StringVar(&rules.Leeway, "leeway", "", "clock difference that is forgiven, such as 30s")
	f.StringVar(&rules.MaxStaleness, "max-staleness", "", "how old a node's state may be to answer about its tokens, such as 5s (the node's own bound if not given)")
	f.BoolVar(&rules.AllowNoExpiry, "allow-no-expiry", false, "admit tokens without exp")
	f.StringVar(&operators.audience, "operator-audience", "", "the audience of operators' tokens, which is for Veto alone")
	f.StringVar(&operators.claim, "operator-claim", "", "claim of whose values some make an operator, such as groups")
	f.StringArrayVar(&operators.roles, "operator", nil, "VALUE=ROLE[,ROLE]: the roles that a value of that claim gives, such as veto-admins=admin")
	return c
}

// operatorFlags are which tokens are operators'.
type operatorFlags struct {
	audience, claim string
	roles           []string
}

// read gives nil for none.
func (f *operatorFlags) read() (*record.Operators, error) {
	if f.audience == "" && f.claim == "" && len(f.roles) == 0 {
		return nil, nil
	}
	o := &record.Operators{Audience: f.audience, Claim: f.claim, Roles: map[string][]record.Role{}}
	for _, r := range f.roles {
		i := strings.LastIndexByte(r, '=') // a value may have one, as a name in LDAP has
		if i <= 0 {
			return nil, &exit{exitUsage, fmt.Errorf("--operator: give VALUE=ROLE[,ROLE], such as veto-admins=admin")}
		}
		for role := range strings.SplitSeq(r[i+1:], ",") {
			o.Roles[r[:i]] = append(o.Roles[r[:i]], record.Role(role))
		}
	}
	return o, nil
}

var issuerHead = []string{"id", "issuer", "keys from", "algorithms", "audiences", "max lifetime", "max staleness", "operators", "revision"}

func issuerRows(items []record.Issuer) [][]any {
	var rows [][]any
	for _, i := range items {
		from := i.Discovery + i.JWKSURI
		switch {
		case i.SharedSecret:
			from = "shared secret"
		case i.Discovery == record.DiscoverByIssuer:
			from = "the issuer's metadata"
		case from == "":
			from = "inline"
		}
		stale := "the node's"
		if i.MaxStaleness > 0 {
			stale = i.MaxStaleness.String()
		}
		rows = append(rows, []any{i.ID, i.Issuer, from, words(i.Algorithms), words(i.Audiences), i.MaxLifetime, stale, operatorsOf(i.Operators), i.Revision})
	}
	return rows
}

func operatorsOf(o *record.Operators) string {
	if o == nil {
		return "none"
	}
	var all []string
	for _, value := range slices.Sorted(maps.Keys(o.Roles)) {
		all = append(all, value+"="+words(o.Roles[value]))
	}
	return o.Claim + " " + strings.Join(all, "; ")
}

func showSigningKeys(page client.Page[record.SigningKey], err error, out *printer) error {
	if err != nil {
		return err
	}
	var rows [][]any
	for _, k := range page.Items {
		rows = append(rows, []any{k.KID, k.Alg, k.Status, moment(k.RetiredAt)})
	}
	return out.show(page, []string{"kid", "alg", "status", "retired"}, rows)
}
