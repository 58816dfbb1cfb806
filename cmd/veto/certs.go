package main

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"veto/node/certs"
)

func newCerts() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "certs", Short: "Make the certificates with which nodes prove themselves",
		Long: "For people who have no authority of their own:\n\n" +
			"  veto certs authority --dir certs                    once, on a safe machine\n" +
			"  veto certs node n1 --host 10.0.0.1 --dir certs      for each node\n\n" +
			"Copy ca.pem, gossip.key, n1.pem and n1-key.pem to node n1, and nothing else.\n\n" +
			"A node that runs takes new files within 10 seconds, or at once on SIGHUP (systemctl reload veto). ca.pem\n" +
			"may hold several authorities, and gossip.key up to three keys, one a line, of which a node speaks by the\n" +
			"first: so each is replaced in three steps, with every node at one before any is at the next. See\n" +
			"docs/members.md.",
	}
	c.PersistentFlags().StringVar(&dir, "dir", "certs", "directory of the files")
	c.AddCommand(&cobra.Command{
		Use: "authority", Short: "Make the authority of a cluster, and its gossip key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := certs.NewAuthority(dir, time.Now()); err != nil {
				return err
			}
			return (&printer{w: cmd.OutOrStdout()}).line("made %s, its private key, and %s", filepath.Join(dir, certs.AuthorityFile), filepath.Join(dir, certs.GossipKeyFile))
		},
	})
	c.AddCommand(&cobra.Command{
		Use: "gossip-key", Short: "Make a gossip key that takes the place of the one there is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := certs.NewGossipKey(dir); err != nil {
				return err
			}
			return (&printer{w: cmd.OutOrStdout()}).line("made %s", filepath.Join(dir, certs.GossipKeyFile))
		},
	})
	var hosts []string
	node := &cobra.Command{
		Use: "node ID", Short: "Make the certificate of a node", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := certs.LoadAuthority(dir)
			if err != nil {
				return err
			}
			if err := a.Issue(dir, args[0], hosts, time.Now()); err != nil {
				return err
			}
			certificate, key := certs.NodeFiles(args[0])
			return (&printer{w: cmd.OutOrStdout()}).line("made %s and %s", filepath.Join(dir, certificate), filepath.Join(dir, key))
		},
	}
	node.Flags().StringSliceVar(&hosts, "host", nil, "names and addresses of the node")
	c.AddCommand(node)
	return c
}
