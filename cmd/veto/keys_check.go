package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"veto/validate/apikey"
)

// checkedKey is what the form of a string says. It has nothing of one that is not a key's: that may
// be a secret of something else.
type checkedKey struct {
	Line       int  `json:"line"`
	WellFormed bool `json:"well_formed"`
	apikey.Form
	Hint string `json:"hint,omitempty"`
}

func newKeysCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Tell whether strings have the form of API keys, without asking anyone",
		Long: "Reads strings from standard input, one a line, where others on this machine cannot see them, and says of\neach whether it is an API key by its form and its checksum. Whether a key is known, only a node can tell.\n\nExit codes: 0 all are, 1 not all.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := outputOf(cmd)
			if err != nil {
				return err
			}
			var all []checkedKey
			var rows [][]any
			bad := 0
			in := linesOf(cmd.InOrStdin())
			for line := 1; in.Scan(); line++ {
				text := strings.TrimSpace(in.Text())
				if text == "" {
					continue
				}
				k := checkedKey{Line: line}
				k.Form, k.Hint, k.WellFormed = apikey.Parse(text)
				result := "well-formed"
				if !k.WellFormed {
					result = "not a key: its form or its checksum is wrong"
					bad++
				}
				all, rows = append(all, k), append(rows, []any{line, k.Hint, k.Prefix, k.Environment, result})
			}
			if err := in.Err(); err != nil {
				return fmt.Errorf("standard input: %w", lineError(err))
			}
			if len(all) == 0 {
				return &exit{exitUsage, fmt.Errorf("standard input is empty")}
			}
			if err := out.show(all, []string{"line", "key", "prefix", "environment", "result"}, rows); err != nil {
				return err
			}
			if bad > 0 {
				return &exit{exitDeny, fmt.Errorf("%d of %d are not keys", bad, len(all))}
			}
			return nil
		},
	}
}
