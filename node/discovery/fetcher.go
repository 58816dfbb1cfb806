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
	"syscall"
	"time"

	"veto/record"
)

// Bounds of fetching.
const (
	maxDocument  = 64 << 10
	maxJWKS      = 256 << 10
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
}

// New makes a fetcher. With allowPrivate it also reaches private addresses, and speaks http.
func New(allowPrivate bool) *Fetcher {
	f := &Fetcher{allowPrivate: allowPrivate}
	dialer := &net.Dialer{Timeout: fetchLimit, Control: f.control}
	f.client = &http.Client{
		Timeout:       fetchLimit,
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
	if ip := at.Addr().Unmap(); !f.allowPrivate && !public(ip) {
		return fmt.Errorf("%s is a private address; start the node with --fetch-private if issuers are there on purpose", ip)
	}
	return nil
}

var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

func public(ip netip.Addr) bool {
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
	return f.scheme(to.URL)
}

func (f *Fetcher) scheme(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && f.allowPrivate {
		return nil
	}
	return errors.New("only https is allowed; start the node with --fetch-private to allow http")
}

// Fetch gets the issuer's JWK set, through its metadata document if it is trusted by that,
// and how long it may be taken for fresh. It blocks for up to 10 seconds. Errors name the
// issuer and are safe to show to operators.
func (f *Fetcher) Fetch(ctx context.Context, i record.Issuer) (jwks []byte, freshFor time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	from := i.JWKSURI
	if i.Discovery != "" {
		if from, err = f.discover(ctx, i); err != nil {
			return nil, 0, fmt.Errorf("issuer %s: its metadata: %w", i.ID, err)
		}
	}
	body, header, err := f.get(ctx, from, maxJWKS)
	if err != nil {
		return nil, 0, fmt.Errorf("issuer %s: its keys: %w", i.ID, err)
	}
	return body, freshness(header), nil
}

func (f *Fetcher) discover(ctx context.Context, i record.Issuer) (string, error) {
	body, _, err := f.get(ctx, i.Discovery, maxDocument)
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return "", errors.New("is not a JSON object")
	}
	if document.Issuer != i.Issuer {
		return "", fmt.Errorf("it says that its issuer is %.200q, not %q", document.Issuer, i.Issuer)
	}
	if document.JWKSURI == "" {
		return "", errors.New("it names no jwks_uri")
	}
	return document.JWKSURI, nil
}

func (f *Fetcher) get(ctx context.Context, from string, limit int64) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, nil, errors.New("its URL cannot be read")
	}
	if err := f.scheme(request.URL); err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answers %s", request.URL.Host, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s answers with more than %d bytes", request.URL.Host, limit)
	}
	return body, response.Header, err
}

var maxAge = regexp.MustCompile(`(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])`)

func freshness(h http.Header) time.Duration {
	found := maxAge.FindStringSubmatch(h.Get("Cache-Control"))
	if found == nil {
		return usualFresh
	}
	seconds, err := strconv.Atoi(found[1])
	if err != nil {
		return usualFresh
	}
	return min(max(time.Duration(seconds)*time.Second, shortestFresh), longestFresh)
}
