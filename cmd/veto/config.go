package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"veto/node"
)

const configFlag = "config"

// notConfig are VETO_* variables that are not a node's settings.
var notConfig = []string{"VETO_ADDRESS", "VETO_DATA_ADDRESS", "VETO_TOKEN", "VETO_TOKEN_FILE", "VETO_CA_FILE", "VETO_CONFIG"}

// settings are the names of all settings with their defaults, in the order of node.Config.
func settings() (names []string, defaults map[string]any) {
	defaults = map[string]any{}
	eachSetting(node.DefaultConfig(), func(name string, value any) {
		names = append(names, name)
		defaults[name] = value
	})
	return names, defaults
}

// eachSetting goes through the settings, those of embedded parts with the others.
func eachSetting(c node.Config, f func(name string, value any)) {
	v := reflect.ValueOf(c)
	for _, field := range reflect.VisibleFields(v.Type()) {
		if !field.Anonymous {
			f(field.Tag.Get("koanf"), v.FieldByIndex(field.Index).Interface())
		}
	}
}

var help = map[string]string{
	"data_dir": "directory for everything that the node must not lose", "node_id": "name of this node in its cluster, for good (the host's name if empty)",
	"role": "voter or replica", "voters": "how many voters the cluster keeps by itself, of the nodes that may be one; 0: all vote", "region": "where the node is", "bootstrap_expect": "how many voters found the cluster together",
	"join": "gossip addresses of other nodes", "bind": "IP address to listen on", "advertise": "address that other nodes are told (bind if empty)",
	"socket": "path of a Unix socket for the data plane, for sidecars", "port": "the data plane's port; the node uses the four after it as well", "certs_dir": "directory with ca.pem, NODE.pem, NODE-key.pem and gossip.key",
	"http_cert_file": "certificate of the HTTP listeners", "http_key_file": "private key of the HTTP listeners",
	"insecure_http": "allow the control plane without TLS beyond this machine", "max_staleness": "how old the state may be before answers are unknown",
	"max_connections": "connections that may be open on each of the HTTP listeners", "caller_rate": "requests a second of one operator on the control plane; 0 bounds nobody",
	"serve_stale": "answer beyond max_staleness, marked; bounds of issuers and requests still hold", "min_revision_wait": "how long a question may wait for the revision that it asks for; 0 waits for none",
	"canary_interval":   "how often to revoke a token of the cluster's own, and measure when the other nodes deny it; 0 never",
	"token_cache_bytes": "memory for verified tokens; 0 remembers none", "index_exact_max": "revocations of one kind to hold in memory; above it a filter, with the disk behind it", "fetch_private": "allow issuers at private addresses and over http",
	"key_prefix":      "what API keys begin with that this node makes; others go on working",
	"pepper_key_file": "file with the key that wraps the peppers by which API keys are stored; without it they are stored by the SHA-256 alone",
	"leaked_keys":     "what is done with API keys that are reported to have leaked: revoke or mark", "leaked_keys_signers_file": "public keys of GitHub's secret scanning, as GitHub publishes them, that may report leaks",
	"audit_retention": "how long entries of the audit trail are kept, such as 9600h, and up to a day more; 0 for good; the same on all nodes",
	"pprof":           "show profiles of the process to admins at /debug/pprof/",
	"events_nats_url": "NATS server with a stream of events that revoke; none if empty", "events_nats_creds_file": "credentials of this node there", "events_nats_token_file": "token of this node there",
	"events_nats_ca_file": "authority of the certificate of the NATS server with the events", "events_stream": "name of the stream of events", "events_durable": "name of the durable consumer on it",
	"events_dead_letter_subject": "where events go that are refused", "events_operator_key_id": "id of the key in whose name events are; if empty, the last word of their subject",
	"events_embedded": "have the stream of events in this node's own NATS server; for a node alone", "events_embedded_max_bytes": "how large that stream may be",
	"trace_endpoint": "collector that is told of the way of requests (OTLP over HTTP), such as http://127.0.0.1:4318/v1/traces", "trace_sample": "part of the requests that it is told of, 0 to 1",
	"log_level": "debug, info, warn or error", "log_format": "text or json",
}

func configFlags(f *pflag.FlagSet) {
	names, defaults := settings()
	for _, name := range names {
		flag := strings.ReplaceAll(name, "_", "-")
		switch d := defaults[name].(type) {
		case string:
			f.String(flag, d, help[name])
		case int:
			f.Int(flag, d, help[name])
		case float64:
			f.Float64(flag, d, help[name])
		case bool:
			f.Bool(flag, d, help[name])
		case []string:
			f.StringSlice(flag, d, help[name])
		case time.Duration:
			f.Duration(flag, d, help[name])
		}
	}
	f.String(configFlag, os.Getenv("VETO_CONFIG"), "TOML or YAML file with settings ($VETO_CONFIG)")
}

// loadConfig merges defaults, file, environment and flags, the later over the earlier, and
// says where each setting comes from.
func loadConfig(flags *pflag.FlagSet) (node.Config, map[string]string, error) {
	var c node.Config
	names, defaults := settings()
	k, sources := koanf.New("."), map[string]string{}
	merge := func(source string, values map[string]any) error {
		for name := range values {
			if !slices.Contains(names, name) {
				return fmt.Errorf("%s: there is no setting %q; did you mean %q?", source, name, nearest(name, names))
			}
			sources[name] = source
		}
		return k.Load(confmap.Provider(values, "."), nil)
	}
	path, err := flags.GetString(configFlag)
	if err != nil {
		return c, nil, err
	}
	if err := merge("default", defaults); err != nil {
		return c, nil, err
	}
	if path != "" {
		values, err := readFile(path)
		if err == nil {
			err = merge(path, values)
		}
		if err == nil {
			err = checkKinds(path, values, defaults)
		}
		if err != nil {
			return c, nil, err
		}
	}
	if err := merge("environment", environment()); err != nil {
		return c, nil, err
	}
	if err := merge("flag", given(flags, names)); err != nil {
		return c, nil, err
	}
	if err := k.Unmarshal("", &c); err != nil {
		return c, nil, fmt.Errorf("a setting has a value of the wrong kind: %w", err)
	}
	return c, sources, c.Complete()
}

func readFile(path string) (map[string]any, error) {
	var parser koanf.Parser = toml.Parser()
	if ext := filepath.Ext(path); ext == ".yaml" || ext == ".yml" {
		parser = yaml.Parser()
	}
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), parser); err != nil {
		return nil, fmt.Errorf("the configuration file %s: %w", path, err)
	}
	return k.All(), nil
}

// checkKinds refuses values of a file that would have to be turned into another kind: that true
// is a port, or 10 ten nanoseconds, is nobody's wish.
func checkKinds(source string, values, defaults map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if want, ok := ofKind(reflect.ValueOf(values[name]), defaults[name]); !ok {
			return fmt.Errorf("%s: %s: must be %s", source, name, want)
		}
	}
	return nil
}

// ofKind tells whether a value is of the kind of the setting's default, and what that is.
func ofKind(is reflect.Value, def any) (want string, ok bool) {
	switch def.(type) {
	case bool:
		return "true or false", is.Kind() == reflect.Bool
	case float64:
		return "a number", is.CanFloat() || is.CanInt() || is.CanUint()
	case int:
		return "a whole number", is.CanInt() || is.CanUint()
	case []string:
		return "a list", is.Kind() == reflect.Slice
	case time.Duration:
		return `a duration in quotes, such as "30s"`, is.Kind() == reflect.String
	}
	return "a text", is.Kind() == reflect.String
}

// environment are the settings in VETO_* variables. Empty ones count as not set. Kubernetes sets
// variables of its own for a service that is called veto; they are left out.
func environment() map[string]any {
	values := map[string]any{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		setting, ok := strings.CutPrefix(name, "VETO_")
		if !ok || value == "" || slices.Contains(notConfig, name) || ofKubernetes(setting, value) {
			continue
		}
		setting = strings.ToLower(setting)
		values[setting] = value
		if setting == "join" {
			values[setting] = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return values
}

func ofKubernetes(setting, value string) bool {
	return strings.HasPrefix(setting, "SERVICE_") || strings.HasPrefix(setting, "PORT_") ||
		setting == "PORT" && strings.Contains(value, "://")
}

// given are the flags that were set.
func given(flags *pflag.FlagSet, names []string) map[string]any {
	values := map[string]any{}
	for _, name := range names {
		f := flags.Lookup(strings.ReplaceAll(name, "_", "-"))
		if f == nil || !f.Changed {
			continue
		}
		values[name] = f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values[name] = list.GetSlice()
		}
	}
	return values
}

func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
}

func newConfig() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Show every setting and where it comes from", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, sources, err := loadConfig(cmd.Flags())
			if sources == nil {
				return &exit{exitUsage, err}
			}
			var rows [][]any
			eachSetting(c, func(name string, value any) { rows = append(rows, []any{name, value, sources[name]}) })
			out, formatErr := outputOf(cmd)
			if formatErr != nil {
				return formatErr
			}
			all := map[string]any{}
			for _, row := range rows {
				all[fmt.Sprint(row[0])] = map[string]any{"value": row[1], "from": row[2]}
			}
			return errors.Join(out.show(all, []string{"setting", "value", "from"}, rows), err)
		},
	}
	validate := &cobra.Command{
		Use: "validate", Short: "Check the settings and say what is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := loadConfig(cmd.Flags()); err != nil {
				return &exit{exitError, err}
			}
			return (&printer{w: cmd.OutOrStdout()}).line("the settings are good")
		},
	}
	configFlags(show.Flags())
	configFlags(validate.Flags())
	c := &cobra.Command{Use: "config", Short: "See and check a node's settings"}
	c.AddCommand(show, validate)
	return c
}
