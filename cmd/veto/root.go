package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"veto/client"
	"veto/node/certs"
	"veto/record"
)

// remote are the flags of the commands that talk to a cluster.
type remote struct {
	control, data     []string
	tokenFile, caFile string
	output            string
	timeout           time.Duration
}

func newRoot() *cobra.Command {
	r := &remote{}
	root := &cobra.Command{
		Use:   "veto",
		Short: "May this JWT or API key still be used?",
		Long: "Veto answers, on every node, whether a JWT or an API key may still be used, and makes a\n" +
			"revocation hold on every node one network hop later. Begin with: veto dev\n\n" +
			"Exit codes: 0 done, 1 failed, 2 wrong usage. `veto validate` has its own: 0 allow, 1 deny,\n" +
			"2 unknown, 3 could not be asked.",
		SilenceErrors: true, SilenceUsage: true,
	}
	f := root.PersistentFlags()
	f.StringSliceVar(&r.control, "address", list("VETO_ADDRESS", "http://127.0.0.1:7771"), "control planes to talk to; the next is tried when one cannot be reached ($VETO_ADDRESS)")
	f.StringSliceVar(&r.data, "data-address", list("VETO_DATA_ADDRESS", "http://127.0.0.1:7770"), "data planes to ask ($VETO_DATA_ADDRESS)")
	f.StringVar(&r.tokenFile, "token-file", os.Getenv("VETO_TOKEN_FILE"), "file with an operator's API key; or set $VETO_TOKEN (there is no flag for the key itself: others could see it in the list of processes)")
	f.StringVar(&r.caFile, "ca-file", os.Getenv("VETO_CA_FILE"), "PEM file with the authority of the cluster's HTTPS certificates ($VETO_CA_FILE)")
	f.StringVarP(&r.output, "output", "o", "table", "table or json")
	f.DurationVar(&r.timeout, "timeout", client.DefaultTimeout, "limit for one request")
	root.AddCommand(newDev(), newServe(), newConfig(), newCerts(), newVersion(), newMan(),
		newValidate(r), newRevoke(r), newRevocations(r), newIssuers(r), newConsumers(r), newMe(r), newKeys(r), newRoles(r), newPepper(r), newCluster(r), newAudit(r), newWatch(r), newBench(r), newBackup(r), newRestore())
	usageErrors(root)
	return root
}

// usageErrors makes wrong arguments exit as wrong usage everywhere: with the code of validate,
// where that has a meaning of its own.
func usageErrors(c *cobra.Command) {
	code := exitUsage
	if c.CommandPath() == "veto validate" {
		code = exitAsk
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exit{code, err} })
	if c.HasSubCommands() && !c.Runnable() {
		c.Args, c.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			hint := ""
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return &exit{code, fmt.Errorf("there is no command %q%s; see `%s --help`", args[0], hint, c.CommandPath())}
		}
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil && slices.Contains(args, "") {
				err = errors.New("an argument is empty, as of a variable that was never set")
			}
			if err != nil {
				return &exit{code, fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
			}
			return nil
		}
	}
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			if name := emptyFlag(c); name != "" {
				return &exit{code, fmt.Errorf("--%s: is empty, as of a variable that was never set; leave it out, or give a value", name)}
			}
			return run(c, args)
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// emptyFlag is the name of a flag that was given and says nothing: what was meant to be wanted must
// not be taken for wanting nothing.
func emptyFlag(c *cobra.Command) (name string) {
	c.Flags().Visit(func(f *pflag.Flag) {
		switch f.Value.Type() {
		case "string", "stringSlice", "stringArray":
			if v := f.Value.String(); v == "" || v == "[]" {
				name = f.Name
			}
		}
	})
	return name
}

func list(variable, standard string) []string {
	if v := os.Getenv(variable); v != "" {
		return strings.Split(v, ",")
	}
	return []string{standard}
}

// outputOf is where a command that talks to nobody prints, in the form that was asked for.
func outputOf(cmd *cobra.Command) (*printer, error) {
	format, err := cmd.Flags().GetString("output")
	if err == nil {
		err = (&remote{output: format}).checkOutput()
	}
	return &printer{w: cmd.OutOrStdout(), json: format == "json"}, err
}

func (r *remote) checkOutput() error {
	if r.output != "table" && r.output != "json" {
		return &exit{exitUsage, fmt.Errorf("--output: %q is neither table nor json", r.output)}
	}
	return nil
}

// client makes the client that the flags ask for.
func (r *remote) client() (*client.Client, error) {
	if err := r.checkOutput(); err != nil {
		return nil, err
	}
	token, err := r.token()
	if err != nil {
		return nil, err
	}
	config, err := r.tls()
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{
		Control: r.control, Data: r.data, Token: token, UserAgent: "veto/" + version,
		HTTP: &http.Client{Timeout: r.timeout, Transport: &http.Transport{TLSClientConfig: config}},
	}), nil
}

// token is the operator's key; empty if there is none.
func (r *remote) token() (string, error) {
	token := os.Getenv("VETO_TOKEN")
	if r.tokenFile != "" {
		b, err := certs.ReadSecret(r.tokenFile)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		token = string(b)
	}
	return strings.TrimSpace(token), nil
}

// tls is how the cluster's HTTPS is spoken.
func (r *remote) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if r.caFile != "" {
		pem, err := os.ReadFile(r.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM", r.caFile)
		}
	}
	return config, nil
}

// talk is what a command does with the cluster.
type talk func(ctx context.Context, c *client.Client, args []string, out *printer) error

// command makes a subcommand that talks to the cluster.
func (r *remote) command(use, short string, args cobra.PositionalArgs, f talk) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, given []string) error { return r.run(cmd, given, f) }}
}

// run talks to the cluster for a command that has looked at its flags.
func (r *remote) run(cmd *cobra.Command, args []string, f talk) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	if only := cmd.Flags().Lookup(ifRevisionFlag); only != nil && only.Changed {
		n, err := cmd.Flags().GetUint64(ifRevisionFlag)
		if err != nil {
			return err
		}
		c = c.IfRevision(record.Revision(n))
	}
	return f(cmd.Context(), c, args, &printer{w: cmd.OutOrStdout(), json: r.output == "json"})
}

const ifRevisionFlag = "if-revision"

// onlyIf lets a command that changes a record take the revision that the record must have.
func onlyIf(c *cobra.Command) *cobra.Command {
	c.Flags().Uint64(ifRevisionFlag, 0, "only if it has this revision, so that nobody's change is lost; 0: only if it is not there")
	return c
}
