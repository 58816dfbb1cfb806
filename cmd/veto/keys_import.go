package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/node/httpapi"
)

func newKeysImport(r *remote) *cobra.Command {
	var of keyFlags
	many := &importFile{}
	c := r.command("import", "Take over API keys that another system made, by the SHA-256 of their secrets", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string, out *printer) error {
		if (of.fields.SHA256 == "") == (many.path == "") {
			return &exit{exitUsage, errors.New("give --sha256 for one key, or --file for many")}
		}
		if many.path != "" {
			return many.run(ctx, c, out)
		}
		fields, err := of.read()
		if err != nil {
			return err
		}
		k, err := c.CreateKey(ctx, fields)
		if err != nil {
			return err
		}
		return out.fields(k, "id", k.ID, "hint", k.Hint, "consumer", k.Consumer, "name", k.Name, "scopes", words(k.Scopes),
			"expires", moment(k.ExpiresAt), "revision", k.Revision)
	})
	c.Long = "Takes over keys that another system made: its users keep them, and Veto sees a secret only when it is presented.\n" +
		"A secret has 1 to 512 bytes of any form but a dot, by which a JWT is known, and spaces at its ends, which headers\nlose; it must be one that nobody can guess.\n\n" +
		"With --file each line is a JSON object as POST /v1/keys takes it. The first line that is refused ends it."
	f := c.Flags()
	of.on(f)
	f.StringVar(&of.fields.SHA256, "sha256", "", "SHA-256 of the secret, in hex")
	f.StringVar(&of.fields.Hint, "hint", "", "by what people tell the key, such as the beginning and end of its secret")
	f.StringVar(&many.path, "file", "", "file of keys, one a line")
	f.UintVar(&many.after, "after-line", 0, "go on after this line of the file")
	for _, ofOne := range []string{"hint", "consumer", "name", "scope", "metadata", "expires-in"} {
		c.MarkFlagsMutuallyExclusive("file", ofOne)
	}
	c.MarkFlagsMutuallyExclusive("sha256", "after-line")
	return c
}

// importFile imports the keys of a file, one request a line.
type importFile struct {
	path  string
	after uint
}

func (f *importFile) run(ctx context.Context, c *client.Client, out *printer) error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	defer func() { _ = file.Close() }()
	bar, err := fileBar(f.path, os.Stderr)
	if err != nil {
		return err
	}
	var read atomic.Int64
	lines, imported := uint(0), 0
	for in := linesOf(counted{file, &read}); ; {
		if !in.Scan() {
			_ = bar.Clear() // a bar is for people who look on, and worth no error
			if err := in.Err(); err != nil {
				return f.stopped(lines, imported, lineError(err))
			}
			return out.fields(struct {
				Lines    uint `json:"lines"`
				Imported int  `json:"imported"`
			}{lines, imported}, "lines", lines, "imported", imported)
		}
		if lines < f.after || len(bytes.TrimSpace(in.Bytes())) == 0 {
			lines++
			continue
		}
		if err := importLine(ctx, c, in.Bytes()); err != nil {
			_ = bar.Clear()
			return f.stopped(lines, imported, err)
		}
		lines++
		imported++
		_ = bar.Set64(read.Load())
	}
}

// stopped says how far it came: what is before the line is done.
func (f *importFile) stopped(lines uint, imported int, err error) error {
	return fmt.Errorf("line %d: %w\n%d keys were imported; to go on once it is right: veto keys import --file %s --after-line %d", lines+1, err, imported, f.path, lines)
}

func importLine(ctx context.Context, c *client.Client, line []byte) error {
	var fields client.KeyFields
	if err := httpapi.ReadJSON(line, &fields); err != nil { // a member that is not known may be a secret, which is not to be sent
		return fmt.Errorf("is not a JSON object of a key: %w", err)
	}
	if fields.SHA256 == "" {
		return errors.New("has no sha256; `veto keys create` makes keys")
	}
	_, err := c.CreateKey(ctx, fields)
	return err
}
