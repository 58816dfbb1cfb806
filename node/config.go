package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"veto/node/certs"
	"veto/node/httpapi/leaks"
	"veto/record"
	"veto/replication/pepper"
	"veto/validate/apikey"
)

// Config is how a node behaves. The names in the tags are those of the configuration file;
// flags have dashes for underscores, and environment variables are VETO_ and capitals.
type Config struct {
	// DataDir holds everything that the node must not lose.
	DataDir string `koanf:"data_dir"`
	// NodeID names the node in its cluster, for good: 1 to 63 of a-z, 0-9, dash. The first
	// DNS name of its certificate must be the same. The host's name if empty.
	NodeID string `koanf:"node_id"`
	// Role is voter or replica: a replica follows and answers, and never votes.
	Role string `koanf:"role"`
	// Voters is how many voters there are to be, the same on all nodes: nodes with the role of one beyond
	// these wait, and one of them takes the place of a voter that has not answered for a minute. 0: all vote.
	Voters int `koanf:"voters"`
	// Region is where the node is; for people.
	Region string `koanf:"region"`
	// BootstrapExpect is how many voters found the cluster together. 1 and no Join: this
	// node founds one by itself. The same on all voters, and on every start.
	BootstrapExpect int `koanf:"bootstrap_expect"`
	// Join are gossip addresses, host or host:port, of other nodes; this one among them
	// does no harm. The same on every start.
	Join []string `koanf:"join"`
	// Bind is the address to listen on. Advertise is the host that other nodes are told;
	// Bind if empty.
	Bind      string `koanf:"bind"`
	Advertise string `koanf:"advertise"`
	// Port is the data plane's. Control plane, other nodes, gossip and NATS have the four after it.
	Port int `koanf:"port"`
	// Socket, if set, is the path of a Unix socket on which the data plane answers as well.
	Socket string `koanf:"socket"`
	// CertsDir holds ca.pem, <node id>.pem, <node id>-key.pem and gossip.key, as `veto
	// certs` makes them. A node alone that has none makes its own.
	CertsDir string `koanf:"certs_dir"`
	// HTTPCertFile and HTTPKeyFile make both HTTP listeners and NATS speak TLS.
	HTTPCertFile string `koanf:"http_cert_file"`
	HTTPKeyFile  string `koanf:"http_key_file"`
	// InsecureHTTP allows the control plane without TLS on an address that is not loopback.
	InsecureHTTP bool `koanf:"insecure_http"`
	// MaxConnections is how many connections may be open on each of the HTTP listeners; one above is closed.
	MaxConnections int `koanf:"max_connections"`
	// CallerRate is how many requests a second an operator, or a manager, may make on the control plane,
	// twice as many at once; 0 bounds nobody.
	CallerRate int `koanf:"caller_rate"`
	// MaxStaleness is how old the state may be before the answer is unknown; ServeStale
	// answers all the same, and says how old.
	MaxStaleness time.Duration `koanf:"max_staleness"`
	ServeStale   bool          `koanf:"serve_stale"`
	// MinRevisionWait is how long a question may wait for the revision that it asks for, at
	// most 5s; 0 waits for none.
	MinRevisionWait time.Duration `koanf:"min_revision_wait"`
	// CanaryInterval is how often this node revokes a token of the cluster's own and measures
	// when the others deny it: 100ms to 1h; 0 never.
	CanaryInterval time.Duration `koanf:"canary_interval"`
	// TokenCacheBytes is about how much memory verified tokens may take; 0 remembers none.
	TokenCacheBytes int `koanf:"token_cache_bytes"`
	// IndexExactMax is how many revocations of one kind are held in memory, at about 45 bytes
	// each. When there are more, only a filter of 2 to 3 bytes each is, and what it cannot rule
	// out is looked up on disk.
	IndexExactMax int `koanf:"index_exact_max"`
	// FetchPrivate allows issuers at private addresses, and over http.
	FetchPrivate bool `koanf:"fetch_private"`
	// LeakedKeys is what is done with an API key of which a secret is reported to have leaked: revoke or
	// mark. LeakedKeysSignersFile has the public keys of GitHub's secret scanning, as GitHub publishes them;
	// without it only operators report.
	LeakedKeys            string `koanf:"leaked_keys"`
	LeakedKeysSignersFile string `koanf:"leaked_keys_signers_file"`
	// AuditRetention is how long entries of the audit trail are kept, at least 24h, and up to a day more; 0 for
	// good. What the node says that leads counts: say the same on all.
	AuditRetention time.Duration `koanf:"audit_retention"`
	// Pprof shows the process's profiles to admins on the control plane.
	Pprof bool `koanf:"pprof"`
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel  string `koanf:"log_level"`
	LogFormat string `koanf:"log_format"`
	// KeysConfig is how it makes and stores API keys.
	KeysConfig `koanf:",squash"`
	// TraceConfig is whom it tells of the way of requests.
	TraceConfig `koanf:",squash"`
	// EventsConfig is how it takes revocations from a stream of events.
	EventsConfig `koanf:",squash"`
}

// KeysConfig is how a node makes and stores API keys.
type KeysConfig struct {
	// KeyPrefix is what API keys begin with that this node makes: 2 to 16 of a-z and 0-9. Keys with
	// any other go on working.
	KeyPrefix string `koanf:"key_prefix"`
	// PepperKeyFile holds the key that wraps the peppers by which API keys are stored: 32 bytes in
	// base64, and on a line below the one that it replaces, if there is one. The same on all nodes; if
	// it is empty on one, the cluster has no pepper, and keys are stored by the SHA-256 alone. It is read again
	// on SIGHUP.
	PepperKeyFile string `koanf:"pepper_key_file"`
}

// DefaultConfig is a node alone on this machine.
func DefaultConfig() Config {
	return Config{
		DataDir: "veto-data", Role: string(record.NodeVoter), BootstrapExpect: 1,
		Bind: "127.0.0.1", Port: 7770, MaxConnections: 8192, CallerRate: 10_000, MaxStaleness: 30 * time.Second, MinRevisionWait: 200 * time.Millisecond, CanaryInterval: 5 * time.Second,
		TokenCacheBytes: 64 << 20, IndexExactMax: 2_000_000, LeakedKeys: leakedRevoke, LogLevel: "info", LogFormat: "text",
		KeysConfig: KeysConfig{KeyPrefix: apikey.Prefix}, TraceConfig: TraceConfig{TraceSample: 0.01}, EventsConfig: defaultEvents(),
	}
}

// The ports, counted from Config.Port.
const (
	dataPort = iota
	controlPort
	peerPort
	gossipPort
	natsPort
	portsPerNode
)

func (c *Config) address(port int) string {
	return net.JoinHostPort(c.Bind, strconv.Itoa(c.Port+port))
}

// PeerAddress is where other nodes reach this one.
func (c *Config) PeerAddress() string {
	host := c.Advertise
	if host == "" {
		host = c.Bind
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Port+peerPort))
}

// joinAddresses are those of other nodes' gossip, each with a port.
func (c *Config) joinAddresses() []string {
	var all []string
	for _, a := range c.Join {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(a, strconv.Itoa(c.Port+gossipPort))
		}
		all = append(all, a)
	}
	return all
}

func (c *Config) alone() bool {
	return c.BootstrapExpect <= 1 && len(c.Join) == 0 && c.Role == string(record.NodeVoter)
}

const leastConnections = 16

// shortestAudit keeps what was done from being forgotten before anybody looks.
const shortestAudit = 24 * time.Hour

// longestRevisionWait keeps a question from outliving the patience of whoever asked it.
const longestRevisionWait = 5 * time.Second

// Each canary is an entry of the log, and kept for an hour or two.
const (
	shortestCanary = 100 * time.Millisecond
	longestCanary  = time.Hour
)

var validNodeID = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// Complete fills in what follows from the machine and checks the whole. Errors say what is
// wrong and what to do.
func (c *Config) Complete() error {
	if c.NodeID == "" {
		host, err := os.Hostname()
		if err != nil || !validNodeID.MatchString(host) {
			return fmt.Errorf("node_id: the host's name %q cannot be one; give --node-id, 1 to 63 of a-z, 0-9 and dash", host)
		}
		c.NodeID = host
	}
	if c.CertsDir == "" && c.alone() {
		c.CertsDir = filepath.Join(c.DataDir, "certs")
	}
	for _, check := range []func() error{c.checkCluster, c.checkAddresses, c.checkRest, c.checkTrace, c.checkEvents} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkCluster() error {
	switch {
	case !validNodeID.MatchString(c.NodeID):
		return fmt.Errorf("node_id: %q cannot be one; 1 to 63 of a-z, 0-9 and dash", c.NodeID)
	case c.Role != string(record.NodeVoter) && c.Role != string(record.NodeReplica):
		return fmt.Errorf("role: %q is neither voter nor replica", c.Role)
	case c.Voters < 0 || c.Voters > 9 || c.Voters == 2:
		return fmt.Errorf("voters: %d is neither 0, 1, nor 3 to 9; with 2 the loss of either one stops all changes", c.Voters)
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 9:
		return fmt.Errorf("bootstrap_expect: %d is not between 1 and 9; 3 or 5 voters are usual", c.BootstrapExpect)
	case c.Role == string(record.NodeReplica) && len(c.Join) == 0:
		return fmt.Errorf("join: a replica needs the address of a node to follow; give --join")
	case c.BootstrapExpect > 1 && len(c.Join) == 0:
		return fmt.Errorf("join: %d voters can only meet if they know an address; give --join", c.BootstrapExpect)
	case c.CertsDir == "":
		return fmt.Errorf("certs_dir: nodes of a cluster prove themselves with certificates; make them with `veto certs` and give --certs-dir")
	}
	return nil
}

func (c *Config) checkAddresses() error {
	ip := net.ParseIP(c.Bind)
	switch {
	case ip == nil:
		return fmt.Errorf("bind: %q is not an IP address", c.Bind)
	case c.Advertise != "" && net.ParseIP(c.Advertise) == nil:
		return fmt.Errorf("advertise: %q is not an IP address", c.Advertise)
	case ip.IsUnspecified() && c.Advertise == "":
		return fmt.Errorf("advertise: with --bind %s other nodes must be told an address; give --advertise", c.Bind)
	case c.Port < 1 || c.Port+portsPerNode-1 > 65535:
		return fmt.Errorf("port: %d leaves no room for the %d ports of a node", c.Port, portsPerNode)
	case (c.HTTPCertFile == "") != (c.HTTPKeyFile == ""):
		return fmt.Errorf("http_cert_file and http_key_file go together; give both or neither")
	case !ip.IsLoopback() && c.HTTPCertFile == "" && !c.InsecureHTTP:
		return fmt.Errorf("bind: on %s, operators' keys would travel in the clear; give --http-cert-file and --http-key-file, or --insecure-http if something before it speaks TLS", c.Bind)
	}
	return nil
}

// What is done with keys that have leaked.
const (
	leakedRevoke = "revoke"
	leakedMark   = "mark"
)

// signers are the keys of who may report leaks without an operator's key; nil if there are none.
func (c *Config) signers() (leaks.Signers, error) {
	if c.LeakedKeysSignersFile == "" {
		return nil, nil //nolint:nilnil // no signers are a choice, and no error
	}
	text, err := os.ReadFile(c.LeakedKeysSignersFile)
	if err != nil {
		return nil, fmt.Errorf("leaked_keys_signers_file: %w", err)
	}
	s, err := leaks.ParseSigners(text)
	if err != nil {
		return nil, fmt.Errorf("leaked_keys_signers_file: %s: %w; get it from https://api.github.com/meta/public_keys/secret_scanning", c.LeakedKeysSignersFile, err)
	}
	return s, nil
}

func (c *Config) checkRest() error {
	if err := c.checkHTTPCertificate(); err != nil {
		return err
	}
	if _, err := c.Ring(); err != nil {
		return err
	}
	if _, err := c.signers(); err != nil {
		return err
	}
	switch {
	case c.DataDir == "":
		return fmt.Errorf("data_dir: give the directory that holds the node's data")
	case c.MaxConnections < leastConnections:
		return fmt.Errorf("max_connections: %d is below %d, which a node's own clients need", c.MaxConnections, leastConnections)
	case c.CallerRate < 0:
		return fmt.Errorf("caller_rate: %d is below 0; 0 bounds nobody", c.CallerRate)
	case c.MaxStaleness < time.Second:
		return fmt.Errorf("max_staleness: %s is below 1s, which no cluster keeps", c.MaxStaleness)
	case c.AuditRetention != 0 && c.AuditRetention < shortestAudit:
		return fmt.Errorf("audit_retention: %s is less than %s; 0 keeps the audit trail for good", c.AuditRetention, shortestAudit)
	case c.MinRevisionWait < 0 || c.MinRevisionWait > longestRevisionWait:
		return fmt.Errorf("min_revision_wait: %s is not between 0 and %s", c.MinRevisionWait, longestRevisionWait)
	case c.CanaryInterval != 0 && (c.CanaryInterval < shortestCanary || c.CanaryInterval > longestCanary):
		return fmt.Errorf("canary_interval: %s is not between %s and %s; 0 switches the canary off", c.CanaryInterval, shortestCanary, longestCanary)
	case c.TokenCacheBytes < 0:
		return fmt.Errorf("token_cache_bytes: %d is below 0; 0 remembers no tokens", c.TokenCacheBytes)
	case c.IndexExactMax < 0:
		return fmt.Errorf("index_exact_max: %d is below 0; 0 holds everything in filters", c.IndexExactMax)
	case !apikey.ValidPrefix(c.KeyPrefix):
		return fmt.Errorf("key_prefix: %q is not 2 to 16 of a-z and 0-9", c.KeyPrefix)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel):
		return fmt.Errorf("log_level: %q is not debug, info, warn or error", c.LogLevel)
	case c.LeakedKeys != leakedRevoke && c.LeakedKeys != leakedMark:
		return fmt.Errorf("leaked_keys: %q is neither revoke nor mark", c.LeakedKeys)
	case c.LogFormat != "text" && c.LogFormat != "json":
		return fmt.Errorf("log_format: %q is neither text nor json", c.LogFormat)
	}
	return nil
}

// checkHTTPCertificate reads the certificate of the HTTP listeners, if there is one.
func (c *Config) checkHTTPCertificate() error {
	if c.HTTPCertFile == "" {
		return nil
	}
	if _, err := certs.ReadPair(c.HTTPCertFile, c.HTTPKeyFile); err != nil {
		return fmt.Errorf("http_cert_file and http_key_file: the listeners' certificate cannot be used: %w", err)
	}
	return nil
}

// Ring are the keys of the peppers; nil if there is no file of them.
func (c *Config) Ring() (*pepper.Ring, error) {
	if c.PepperKeyFile == "" {
		return nil, nil //nolint:nilnil // no pepper is a choice, and no error
	}
	content, err := certs.ReadKept(c.PepperKeyFile)
	if err != nil {
		return nil, fmt.Errorf("pepper_key_file: %w", err)
	}
	r, err := pepper.ParseRing(content)
	if err != nil {
		return nil, fmt.Errorf("pepper_key_file: %s %w", c.PepperKeyFile, err)
	}
	return r, nil
}
