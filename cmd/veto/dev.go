package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"veto/client"
	"veto/node/dev"
	"veto/validate"
)

// devLimit is how long a cluster on one machine may take to begin.
const devLimit = time.Minute

type devOptions struct {
	nodes, port int
	dataDir     string
	json        bool
	verbose     bool
}

func newDev() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use: "dev", Short: "Run a whole cluster on this machine, to try things out",
		Long: "Starts real nodes on loopback, with a demo token issuer, and shows what to type. Without\n--data-dir everything is gone at the end.\n\n" +
			"A node that ends leaves the others as they are: to see them go on, `veto cluster leave n3`. With the next start\n" +
			"in the same --data-dir it joins again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDev(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().IntVar(&o.nodes, "nodes", 3, "how many nodes")
	c.Flags().IntVar(&o.port, "port", 7770, "the first node's data plane; the next nodes are 10 further each")
	c.Flags().StringVar(&o.dataDir, "data-dir", "", "directory to keep everything in")
	c.Flags().BoolVar(&o.json, "json", false, "print one line of JSON when all are ready")
	c.Flags().BoolVar(&o.verbose, "verbose", false, "show the nodes' logs")
	return c
}

func runDev(ctx context.Context, o devOptions, out, errOut io.Writer) (err error) {
	config := dev.Config{Nodes: o.nodes, Port: o.port, Version: version, Now: time.Now}
	if err := config.Check(); err != nil {
		return &exit{exitUsage, fmt.Errorf("--nodes: %w", err)}
	}
	if config.Dir = o.dataDir; config.Dir == "" {
		if config.Dir, err = os.MkdirTemp("", "veto-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(config.Dir)) }()
	}
	level := slog.LevelError
	if o.verbose {
		level = slog.LevelInfo
	}
	config.Log = slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
	say := func(format string, args ...any) {
		if !o.json {
			_, _ = fmt.Fprintf(out, format+"\n", args...)
		}
	}
	starting, cancel := context.WithTimeout(ctx, devLimit)
	defer cancel()
	config.Ready = func(id string) { say("  node %s is ready", id) }
	say("Starting %d nodes in %s", o.nodes, config.Dir)
	cluster, token, err := startDev(starting, config)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		say("\nStopping") // it was interrupted
		for _, e := range besides(context.Canceled, err) {
			_, _ = fmt.Fprintf(errOut, "veto: %s\n", e)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if o.json {
		err = printJSON(out, cluster, o.nodes, token)
	} else {
		printStory(out, cluster, o.nodes, token)
	}
	if err != nil {
		return err
	}
	for running := o.nodes; ; {
		select {
		case <-ctx.Done():
			say("\nStopping")
			return nil
		case e := <-cluster.Ended():
			if running--; running == 0 {
				return fmt.Errorf("the last node is gone: %s", e)
			}
			_, _ = fmt.Fprintf(errOut, "veto: %s; the others go on\n", e)
		}
	}
}

// besides gives the errors of those that were joined that do not come of the one.
func besides(one, err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		if errors.Is(err, one) {
			return nil
		}
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, besides(one, e)...)
	}
	return all
}

// startDev starts a cluster that allows the token.
func startDev(ctx context.Context, config dev.Config) (*dev.Cluster, string, error) {
	cluster, err := dev.Start(ctx, config)
	if err != nil {
		return nil, "", err
	}
	token, err := trust(ctx, cluster, config.Nodes)
	if err != nil {
		return nil, "", errors.Join(err, cluster.Close())
	}
	return cluster, token, nil
}

// trust makes the cluster trust the demo issuer and gives a token that every node allows.
func trust(ctx context.Context, cluster *dev.Cluster, nodes int) (string, error) {
	issuer := cluster.Issuer()
	admin := client.New(client.Options{Control: []string{cluster.Control(0)}, Token: cluster.AdminToken()})
	rules := client.Rules{
		Issuer: issuer.URL(), Discovery: issuer.Discovery(), Audiences: []string{cluster.Demo().Audience}, Types: []string{"at+jwt"},
	}
	_, err := admin.PutIssuer(ctx, "demo", rules)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict { // that is the one of another --port
		_, err = admin.PutIssuer(ctx, fmt.Sprintf("demo-%d", cluster.NodeConfig(0).Port), rules)
	}
	if err != nil {
		return "", fmt.Errorf("the demo issuer: %w", err)
	}
	token, err := issuer.Token(cluster.Demo().Scopes)
	if err != nil {
		return "", err
	}
	for i := range nodes {
		if err := awaitAllowed(ctx, cluster.Data(i), token); err != nil {
			return "", err
		}
	}
	return token, nil
}

// awaitAllowed asks until the issuer's keys have reached the node.
func awaitAllowed(ctx context.Context, data, token string) error {
	c := client.New(client.Options{Data: []string{data}})
	for {
		v, err := c.Validate(ctx, client.Question{Credential: token})
		if err == nil && v.Outcome == validate.Allow {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not allow a token of the demo issuer: %s %w", data, v.Code, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type devNode struct {
	ID      string `json:"id"`
	Data    string `json:"data"`
	Control string `json:"control"`
}

func printJSON(out io.Writer, cluster *dev.Cluster, nodes int, token string) error {
	v := struct {
		Nodes        []devNode `json:"nodes"`
		AdminToken   string    `json:"admin_token"`
		Issuer       string    `json:"issuer"`
		TokenURL     string    `json:"token_url"`
		ClientID     string    `json:"client_id"`
		ClientSecret string    `json:"client_secret"`
		Audience     string    `json:"audience"`
		Token        string    `json:"token"`
	}{
		AdminToken: cluster.AdminToken(), Issuer: cluster.Issuer().URL(), TokenURL: cluster.Issuer().TokenURL(),
		ClientID: cluster.Demo().ClientID, ClientSecret: cluster.Demo().ClientSecret,
		Audience: cluster.Demo().Audience, Token: token,
	}
	for i := range nodes {
		v.Nodes = append(v.Nodes, devNode{dev.ID(i), cluster.Data(i), cluster.Control(i)})
	}
	return json.NewEncoder(out).Encode(v)
}

// printStory shows the whole story in commands to copy.
func printStory(out io.Writer, cluster *dev.Cluster, nodes int, token string) {
	second, third := 1%nodes, 2%nodes
	_, _ = fmt.Fprintf(out, `
Operator's token and a token of the demo issuer, for this shell:

  export VETO_TOKEN=%s
  export TOKEN=%s

Node %s allows the token:

  curl -s -X POST %s/v1/validate -H "Authorization: Bearer $TOKEN"

Revoke it on node %s:

  curl -s -X POST %s/v1/revocations -H "Authorization: Bearer $VETO_TOKEN" \
    -H 'Content-Type: application/json' -d "{\"token\": \"$TOKEN\", \"reason\": \"leaked\"}"

Node %s denies it:

  curl -s -X POST %s/v1/validate -H "Authorization: Bearer $TOKEN"

Another token, from the demo issuer itself:

  curl -s -u %s:%s -d grant_type=client_credentials %s

Stop with Ctrl-C.
`, cluster.AdminToken(), token, dev.ID(0), cluster.Data(0), dev.ID(second), cluster.Control(second),
		dev.ID(third), cluster.Data(third), cluster.Demo().ClientID, cluster.Demo().ClientSecret, cluster.Issuer().TokenURL())
}
