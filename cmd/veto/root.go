package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

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
	r.timeout = client.DefaultTimeout
	f.Var((*span)(&r.timeout), "timeout", "limit for one request")
	root.AddCommand(newDev(), newServe(), newConfig(), newCerts(), newVersion(), newMan(),
		newValidate(r), newRevoke(r), newRevocations(r), newIssuers(r), newConsumers(r), newMe(r), newKeys(r), newRoles(r), newPepper(r), newCluster(r), newAudit(r), newWatch(r), newBench(r), newBackup(r), newRestore())
	root.InitDefaultCompletionCmd() // which otherwise comes later, and with errors of its own
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(_ *cobra.Command, args []string) error {
		of, rest, _ := root.Find(args)
		return noSuchCommand(of, rest)
	}
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
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exit{code, wrongValue(err)} })
	if c.HasSubCommands() {
		c.Args = noSuchCommand
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			for _, check := range []func() error{
				func() error { return saysNothing(c, args) }, func() error { return check(c, args) }, c.ValidateRequiredFlags, c.ValidateFlagGroups,
			} {
				if err := check(); err != nil {
					return &exit{code, fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
				}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// noSuchCommand refuses what is no subcommand, and names the one that is most like it.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	for c.SuggestionsMinimumDistance = 1; c.SuggestionsMinimumDistance <= 2; c.SuggestionsMinimumDistance++ {
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return fmt.Errorf("there is no command %q; did you mean %q?", args[0], near[0])
		}
	}
	return fmt.Errorf("there is no command %q", args[0])
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
	for _, base := range slices.Concat(r.control, r.data) {
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, &exit{exitUsage, errors.New("--address, --data-address: each must be http or https with a host, such as http://127.0.0.1:7771")}
		}
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
	token = strings.TrimSpace(token)
	if strings.ContainsFunc(token, unicode.IsSpace) {
		return "", &exit{exitUsage, errors.New("the token, of --token-file or $VETO_TOKEN, is more than one word; give it alone")}
	}
	return token, nil
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
