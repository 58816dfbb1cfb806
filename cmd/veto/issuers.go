package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"veto/client"
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
			b, err := os.ReadFile(secretFile)
			if err != nil {
				return fmt.Errorf("--shared-secret-file: %w", err)
			}
			if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
				return &exit{exitUsage, fmt.Errorf("--shared-secret-file: %s is empty", secretFile)}
			}
			rules.SharedSecret = base64.RawURLEncoding.EncodeToString(b)
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
	return c
}

var issuerHead = []string{"id", "issuer", "keys from", "algorithms", "audiences", "max lifetime", "max staleness", "revision"}

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
		rows = append(rows, []any{i.ID, i.Issuer, from, words(i.Algorithms), words(i.Audiences), i.MaxLifetime, stale, i.Revision})
	}
	return rows
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
