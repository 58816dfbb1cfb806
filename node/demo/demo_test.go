package demo_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"veto/node/demo"
	"veto/record"
	"veto/validate"
	"veto/validate/jwt"
	"veto/validate/keyset"
)

func post(t *testing.T, i *demo.Issuer, id, secret string, form url.Values) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(id, secret)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

// O1
func TestTokenIsGivenToTheClient(t *testing.T) {
	secrets, err := demo.NewSecrets()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i, err := demo.Start(l, secrets, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	grant := url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read"}}
	inForm := url.Values{"grant_type": {"client_credentials"}, "client_id": {secrets.ClientID}, "client_secret": {secrets.ClientSecret}}
	for name, c := range map[string]struct {
		id, secret string
		form       url.Values
		want       int
	}{
		"good":          {secrets.ClientID, secrets.ClientSecret, grant, 200},
		"in the form":   {"", "", inForm, 200},
		"wrong secret":  {secrets.ClientID, secrets.ClientSecret + "x", grant, 401},
		"wrong client":  {"x", secrets.ClientSecret, grant, 401},
		"nobody":        {"", "", grant, 401},
		"another grant": {secrets.ClientID, secrets.ClientSecret, url.Values{"grant_type": {"password"}}, 400},
		"another scope": {secrets.ClientID, secrets.ClientSecret, url.Values{"grant_type": {"client_credentials"}, "scope": {"root"}}, 400},
	} {
		status, answer := post(t, i, c.id, c.secret, c.form)
		if status != c.want || (answer["access_token"] != nil) != (c.want == http.StatusOK) {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	response, err := http.Get(i.URL() + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	set, _ := io.ReadAll(response.Body)
	keys, err := keyset.Parse(set, nil)
	if err != nil {
		t.Fatal(err)
	}
	holder := keyset.NewHolder()
	holder.Swap([]record.Issuer{record.Issuer{ID: "demo", Issuer: i.URL()}.WithDefaults()}, []record.SigningKeys{{IssuerID: "demo", Keys: keys}})
	_, answer := post(t, i, secrets.ClientID, secrets.ClientSecret, grant)
	claims, code := jwt.New(holder, nil, func(string) {}).Verify(answer["access_token"].(string), time.Now(), nil)
	if code != validate.OK || claims.Client != secrets.ClientID || len(claims.Scopes) != 1 || claims.JTI == "" {
		t.Errorf("%s %+v", code, claims)
	}
}
