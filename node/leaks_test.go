package node_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"veto/client"
	"veto/node"
	"veto/record"
	"veto/record/trail"
	"veto/validate"
)

// scanner signs reports as GitHub does.
type scanner struct {
	*story
	key  *ecdsa.PrivateKey
	file string // with its public key
}

func newScanner(t *testing.T) *scanner {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"public_keys": []map[string]any{{
		"key_identifier": "k1", "is_current": true, "key": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}}})
	x := &scanner{key: k, file: filepath.Join(t.TempDir(), "signers.json")}
	if err == nil {
		err = os.WriteFile(x.file, set, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// report sends what was found, signed, and gives the labels in their order.
func (x *scanner) report(i int, secrets ...string) []string {
	x.Helper()
	var found []map[string]string
	for _, s := range secrets {
		found = append(found, map[string]string{"token": s, "type": "veto_key", "url": "https://github.com/o/r/blob/c/f.txt?" + s, "source": "content"})
	}
	body, err := json.Marshal(found)
	if err != nil {
		x.Fatal(err)
	}
	sum := sha256.Sum256(body)
	der, err := ecdsa.SignASN1(rand.Reader, x.key, sum[:])
	if err != nil {
		x.Fatal(err)
	}
	r, err := http.NewRequestWithContext(x.ctx, http.MethodPost, x.cluster.Control(i)+"/v1/keys/leaked", strings.NewReader(string(body)))
	if err != nil {
		x.Fatal(err)
	}
	r.Header.Set("Github-Public-Key-Identifier", "k1")
	r.Header.Set("Github-Public-Key-Signature", base64.StdEncoding.EncodeToString(der))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		x.Fatal(err)
	}
	defer response.Body.Close()
	var answer []map[string]string
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK || len(answer) != len(secrets) {
		x.Fatalf("%d %v %v", response.StatusCode, answer, err)
	}
	var labels []string
	for n, a := range answer {
		sum := sha256.Sum256([]byte(secrets[n]))
		if len(a) != 3 || a["token_hash"] != hex.EncodeToString(sum[:]) || a["token_type"] != "veto_key" {
			x.Errorf("%v", a)
		}
		labels = append(labels, a["label"])
	}
	return labels
}

// leakable are keys of all kinds, with their secrets: one made here, one imported, and one that is rotating, by its old secret.
// They are so from the revision on.
func (s *story) leakable() (ids, secrets []string, from record.Revision) {
	s.Helper()
	c := s.at(0)
	if _, err := c.PutConsumer(s.ctx, "shop", client.ConsumerFields{}); err != nil {
		s.Fatal(err)
	}
	const old = "sk-Old/key+of=any form"
	sum := sha256.Sum256([]byte(old))
	for _, f := range []client.KeyFields{{Consumer: "shop"}, {Consumer: "shop", SHA256: hex.EncodeToString(sum[:])}, {Consumer: "shop"}} {
		k, err := c.CreateKey(s.ctx, f)
		if err != nil {
			s.Fatal(err)
		}
		ids, secrets = append(ids, k.ID), append(secrets, k.Secret)
	}
	secrets[1] = old
	rolled, err := c.RollKey(s.ctx, ids[2], time.Hour, false)
	if err != nil {
		s.Fatal(err)
	}
	return ids, secrets, rolled.Revision
}

// logged waits until the node's log has so many.
func (x *scanner) logged(i, many int) client.Page[client.Revocation] {
	x.Helper()
	for {
		page, err := x.at(i).Revocations(x.ctx, client.List{})
		if err == nil && len(page.Items) >= many {
			return page
		}
		select {
		case <-x.ctx.Done():
			x.Fatalf("%d revocations, %v", len(page.Items), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What GitHub reports is revoked on every node, once, in its name; and what is nobody's is told so.
func TestLeakedKeysAreRevoked(t *testing.T) {
	x := newScanner(t)
	x.story = tellOf(t, 3, func(c *node.Config) { c.LeakedKeysSignersFile = x.file })
	ids, secrets, from := x.leakable()
	x.ask(1, secrets[2], from) // waits until the node has it
	want := []string{"true_positive", "false_positive", "true_positive", "true_positive", "true_positive", "false_positive"}
	report := []string{secrets[0], "veto_nobodys", secrets[1], secrets[2], secrets[0], "x"}
	if got := x.report(1, report...); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	var last record.Revision
	v := x.logged(1, len(ids))
	for _, id := range ids {
		n := slices.IndexFunc(v.Items, func(r client.Revocation) bool { return r.Value == id })
		if n < 0 || v.Items[n].By != record.LeakGitHub || v.Items[n].Reason != "leaked: reported by github, found at https://github.com/o/r/blob/c/f.txt" {
			t.Errorf("%s: %+v", id, v.Items)
		}
		last = max(last, v.Items[n].Revision)
	}
	for i := range 3 {
		for _, secret := range secrets {
			if v := x.ask(i, secret, last); v.Code != validate.Revoked {
				t.Errorf("node %d: %+v", i, v)
			}
		}
	}
	if got := x.report(2, report...); !slices.Equal(got, want) {
		t.Errorf("again: %v", got)
	}
	again := x.logged(2, len(ids))
	if slices.ContainsFunc(again.Items, func(r client.Revocation) bool { return r.Revision > last }) {
		t.Errorf("it was revoked again: %+v", again)
	}
	said := x.trail(0, trail.Filter{By: record.LeakGitHub})
	if strings.Count(said, `"revoke"`) == 0 || !strings.Contains(said, record.WayScanning) {
		t.Errorf("the audit trail does not say who told: %s", said)
	}
	for _, secret := range report {
		if len(secret) > 2 && strings.Contains(x.trail(0, trail.Filter{}), secret) {
			t.Error("a secret is in the audit trail")
		}
	}
}

// Where keys are to be marked, they show when they leaked and go on; there is one event for each secret.
func TestLeakedKeysAreMarked(t *testing.T) {
	x := newScanner(t)
	x.story = tellOf(t, 1, func(c *node.Config) { c.LeakedKeysSignersFile, c.LeakedKeys = x.file, "mark" })
	ids, secrets, _ := x.leakable()
	marked := func(id string) record.APIKey {
		t.Helper()
		k, err := x.at(0).Key(x.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for range 2 {
		if got := x.report(0, secrets...); !slices.Equal(got, []string{"true_positive", "true_positive", "true_positive"}) {
			t.Fatalf("%v", got)
		}
	}
	for n, id := range ids {
		k := marked(id)
		if k.LeakedAt.IsZero() || k.Leak == nil || k.Leak.By != record.LeakGitHub || k.Leak.Where != "https://github.com/o/r/blob/c/f.txt" || k.Leak.Revision != k.Revision {
			t.Errorf("%+v %+v", k, k.Leak)
		}
		if v := x.ask(0, secrets[n], 0); v.Code != validate.OK {
			t.Errorf("%+v", v)
		}
	}
	first := marked(ids[0]).Leak.Revision
	rolled, err := x.at(0).RollKey(x.ctx, ids[0], 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.report(0, secrets[0], rolled.Secret); got[0] != "false_positive" || got[1] != "true_positive" {
		t.Errorf("%v", got)
	}
	if again := marked(ids[0]).Leak.Revision; again <= first {
		t.Errorf("a new secret that leaked too is not marked: %d", again)
	}
	r := x.follow(x.at(0), "0.0")
	for leaked := 0; leaked < 4; {
		if e, _ := r.next(x.story); e.Type == "veto.key.leaked" {
			leaked++
			if !strings.Contains(string(e.Data), `"by":"github"`) {
				t.Errorf("%s", e.Data)
			}
		}
	}
}

// Who has no signature, or one that nobody here knows, needs an operator's key.
func TestWhoMayReportLeaks(t *testing.T) {
	s := tell(t, 1)
	ids, secrets, _ := s.leakable()
	body := fmt.Sprintf(`[{"token":%q,"type":"t"}]`, secrets[0])
	if a := s.http(0, "POST", "/v1/keys/leaked", body, "Github-Public-Key-Identifier", "k1", "Github-Public-Key-Signature", "MEQ="); a.status != 403 || !strings.Contains(fmt.Sprint(a.body["detail"]), "leaked_keys_signers_file") {
		t.Errorf("%+v", a)
	}
	labels, err := s.at(0).ReportLeaked(s.ctx, []client.Leaked{{Token: secrets[0], Type: "t"}, {Token: "x", Type: "t"}})
	if err != nil || len(labels) != 2 || !labels[0].Real() || labels[1].Real() {
		t.Errorf("%+v %v", labels, err)
	}
	all, err := s.at(0).Revocations(s.ctx, client.List{})
	if err != nil || len(all.Items) != 1 || all.Items[0].Value != ids[0] || !strings.HasPrefix(all.Items[0].By, "key_") {
		t.Errorf("%+v %v", all, err)
	}
	admin := s.cluster.AdminToken()
	if labels, err := s.at(0).ReportLeaked(s.ctx, []client.Leaked{{Token: admin, Type: "t"}}); err != nil || !labels[0].Real() || labels[0].Done != "marked" {
		t.Errorf("%+v %v", labels, err)
	}
	// It goes on, and everyone who looks is told.
	if marked, err := s.at(0).Keys(s.ctx, record.KeyQuery{State: record.KeyLeaked}, client.List{}); err != nil || len(marked.Items) != 1 || marked.Items[0].LeakedAt.IsZero() {
		t.Errorf("the last admin's key was taken away, or is not marked: %+v %v", marked, err)
	}
	if now := s.status(0); now.LeakedKeys != 1 || !strings.Contains(s.metrics(0), "\nveto_leaked_keys 1\n") {
		t.Errorf("%+v", now)
	}
	if said := s.trail(0, trail.Filter{Action: "mark_leaked"}); !strings.Contains(said, "leaked_at") {
		t.Errorf("the audit trail does not tell: %s", said)
	}
	if _, err := s.at(0).CreateKey(s.ctx, client.KeyFields{Roles: []record.Role{record.RoleAdmin}}); err != nil {
		t.Fatal(err)
	}
	labels, err = s.at(0).ReportLeaked(s.ctx, []client.Leaked{{Token: admin, Type: "t"}})
	if err != nil || labels[0].Done != "revoked" {
		t.Errorf("with another admin: %+v %v", labels, err)
	}
}

// The secret of a portal session that leaked opens nothing any more, on no node.
func TestLeakedPortalSessionsEnd(t *testing.T) {
	x := newScanner(t)
	x.story = tellOf(t, 3, func(c *node.Config) { c.LeakedKeysSignersFile = x.file })
	if _, err := x.at(0).PutConsumer(x.ctx, "shop", client.ConsumerFields{}); err != nil {
		t.Fatal(err)
	}
	session, err := x.at(0).OpenPortalSession(x.ctx, "shop", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	x.reach(1, session.Revision)
	if got := x.report(1, session.Secret); got[0] != "true_positive" {
		t.Fatal(got)
	}
	ended := x.status(1).Revision
	for i := range 3 {
		x.reach(i, ended)
		if _, err := x.as(i, session.Secret).Me(x.ctx, ""); err == nil || !strings.Contains(err.Error(), "(401") {
			t.Errorf("node %d: %v", i, err)
		}
	}
	if said := x.trail(0, trail.Filter{Action: "end_session"}); !strings.Contains(said, session.ID) || !strings.Contains(said, record.LeakGitHub) {
		t.Errorf("%s", said)
	}
}
