package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"veto/record"
)

// Bounds of fetching.
const (
	maxDocument  = 64 << 10
	maxJWKS      = 256 << 10
	maxURL       = 2048
	maxRedirects = 3
	fetchLimit   = 10 * time.Second

	shortestFresh = 5 * time.Minute
	usualFresh    = time.Hour
	longestFresh  = 24 * time.Hour
)

// Fetcher fetches. It may be used from anywhere at once.
type Fetcher struct {
	client       *http.Client
	allowPrivate bool
	limit        time.Duration // for one fetch, metadata and keys together
	// ofOperators fetches for issuers whose tokens let operators in; nil if this is that one.
	ofOperators *Fetcher
}

// New makes a fetcher. With allowPrivate it also reaches private addresses, and speaks http; but for issuers of
// operators no further than on this machine: who can change what is on its way would be an admin.
func New(allowPrivate bool) *Fetcher {
	f := newFetcher(allowPrivate)
	f.ofOperators = newFetcher(allowPrivate)
	return f
}

func newFetcher(allowPrivate bool) *Fetcher {
	f := &Fetcher{allowPrivate: allowPrivate, limit: fetchLimit}
	dialer := &net.Dialer{Timeout: fetchLimit, Control: f.control}
	f.client = &http.Client{
		CheckRedirect: f.redirect,
		Transport: &http.Transport{
			// No proxy: it would be asked to connect where this node may not.
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchLimit,
			MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true,
		},
	}
	return f
}

// control sees the address after names were resolved, so a name cannot mean one thing when it
// is checked and another when it is used.
func (f *Fetcher) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr(); !f.allowPrivate && !public(ip) {
		return fmt.Errorf("%s is a private address; start the node with --fetch-private if issuers are there on purpose", ip)
	}
	return nil
}

// notPublic is what netip does not know of: this network, carrier-grade NAT, protocol
// assignments, benchmarks, reserved; and IPv6 ranges that are local or carry an IPv4 address
// within, where a gateway would take it out again.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func public(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("") // a prefix contains neither the mapped form nor one with a zone
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

func (f *Fetcher) redirect(to *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return f.check(to.URL, via[len(via)-1].URL.Scheme)
}

// check refuses what must not be asked for. From is the scheme of what led there, if anything
// did: https does not lead to http, even where http is allowed.
func (f *Fetcher) check(u *url.URL, from string) error {
	switch {
	case u.Scheme == "http" && from == "https":
		return errors.New("https leads to http, which is not followed")
	case u.Scheme != "https" && (u.Scheme != "http" || !f.allowPrivate):
		return errors.New("only https is allowed; start the node with --fetch-private to allow http")
	case u.Scheme == "http" && f.ofOperators == nil && !onThisMachine(u.Hostname()):
		return errors.New("the keys of an issuer whose tokens let operators in come over https alone, but from a loopback address")
	case u.Host == "" || u.User != nil:
		return errors.New("its URL must have a host, and no user")
	}
	return nil
}

// onThisMachine takes addresses alone: what a name means others may say.
func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Fetch gets the issuer's JWK set, through its metadata document if it is trusted by that,
// and how long it may be taken for fresh: 5 minutes to a day. It blocks for up to 10 seconds.
// Errors name the issuer and the host, never more of a URL, and are safe to show to operators.
func (f *Fetcher) Fetch(ctx context.Context, i record.Issuer) (jwks []byte, freshFor time.Duration, err error) {
	if i.Operators != nil && f.ofOperators != nil {
		return f.ofOperators.Fetch(ctx, i)
	}
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	from, scheme := i.JWKSURI, ""
	if i.Discovery != "" {
		if from, scheme, err = f.discover(ctx, i); err != nil {
			return nil, 0, fmt.Errorf("issuer %s: its metadata: %w", i.ID, err)
		}
	}
	body, response, err := f.get(ctx, from, scheme, maxJWKS) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return nil, 0, fmt.Errorf("issuer %s: its keys: %w", i.ID, err)
	}
	return body, freshness(response.Header), nil
}

// discover returns the jwks_uri, and the scheme over which it was learned. An issuer whose
// document is to be found by its name may have it at several places; the first good one counts.
func (f *Fetcher) discover(ctx context.Context, i record.Issuer) (uri, scheme string, err error) {
	if i.Discovery != record.DiscoverByIssuer {
		return f.discoverAt(ctx, i, i.Discovery)
	}
	var failed []error
	for _, at := range wellKnown(i.Issuer) {
		if uri, scheme, err = f.discoverAt(ctx, i, at); err == nil {
			return uri, scheme, nil
		}
		failed = append(failed, err)
	}
	return "", "", errors.Join(failed...)
}

// wellKnown are the places of an issuer's document: with the well-known part appended to the
// issuer (OpenID Connect Discovery 1.0 section 4), or put before its path (RFC 8414 section 3).
func wellKnown(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.Path, "/")
	places := []string{path + "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server" + path}
	if path != "" {
		places = append(places, "/.well-known/openid-configuration"+path)
	}
	for n, p := range places {
		places[n] = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: p}).String()
	}
	return places
}

func (f *Fetcher) discoverAt(ctx context.Context, i record.Issuer, at string) (uri, scheme string, err error) {
	body, response, err := f.get(ctx, at, "", maxDocument) //nolint:bodyclose // get has read and closed it
	if err != nil {
		return "", "", err
	}
	if uri, err = keysOf(body, i.Issuer); err != nil {
		return "", "", fmt.Errorf("what %s answers %w", response.Request.URL.Host, err)
	}
	return uri, response.Request.URL.Scheme, nil
}

// keysOf reads the jwks_uri out of the metadata document of the issuer, and of no other.
func keysOf(document []byte, issuer string) (string, error) {
	// Not into a struct: its members would be found in any case.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil || members == nil {
		return "", errors.New("is not a JSON object")
	}
	if says, ok := member(members, "issuer"); !ok || says != issuer {
		return "", fmt.Errorf("is not about this issuer: it says that its issuer is %.200q, not %q", says, issuer)
	}
	uri, ok := member(members, "jwks_uri")
	if !ok || uri == "" {
		return "", errors.New("names no jwks_uri")
	}
	return uri, nil
}

func member(document map[string]json.RawMessage, name string) (string, bool) {
	var s *string
	err := json.Unmarshal(document[name], &s)
	if err != nil || s == nil {
		return "", false
	}
	return *s, true
}

// get returns what is at the URL, and the answer that brought it, whose body is read.
func (f *Fetcher) get(ctx context.Context, at, from string, limit int64) ([]byte, *http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil || len(at) > maxURL {
		return nil, nil, errors.New("its URL cannot be read, or is too long")
	}
	if err := f.check(request.URL, from); err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, nil, plain(err, request.URL.Host)
	}
	defer func() { _ = response.Body.Close() }()
	host := response.Request.URL.Host // where redirects led
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answers %.100s", host, response.Status)
	}
	if response.ContentLength > limit {
		return nil, nil, fmt.Errorf("%s answers with more than %d bytes", host, limit)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, nil, plain(err, host)
	}
	if int64(len(body)) > limit {
		return nil, nil, fmt.Errorf("%s answers with more than %d bytes", host, limit)
	}
	return body, response, nil
}

// plain leaves of the URL in net/http's error its host: paths and queries can hold secrets. That a
// host took too long is its own fault, and no timeout of whoever asked for the keys.
func plain(err error, host string) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		if u, e := url.Parse(wrapped.URL); e == nil && u.Host != "" {
			host = u.Host
		}
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer in time", host)
	}
	return fmt.Errorf("%s: %w", host, err)
}

var maxAge = regexp.MustCompile(`(?i)(?:^|[\s,])max-age="?(\d+)`)

func freshness(h http.Header) time.Duration {
	found := maxAge.FindStringSubmatch(strings.Join(h.Values("Cache-Control"), ","))
	if found == nil {
		return usualFresh
	}
	seconds, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil || seconds > int64(longestFresh/time.Second) { // or beyond what can be counted
		return longestFresh
	}
	return max(time.Duration(seconds)*time.Second, shortestFresh)
}
