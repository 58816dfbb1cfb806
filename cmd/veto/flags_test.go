package main

import (
	"strings"
	"testing"
)

// What is wrong with arguments is said, and what to give, before anybody is asked.
func TestWrongUsage(t *testing.T) {
	nobody := []string{"--address", "http://127.0.0.1:1", "--data-address", "http://127.0.0.1:1"}
	for want, lines := range map[string][]string{
		"argument 1 is empty":                {"keys get |", "cluster promote |", "consumers get |", "revoke | x", "validate |", "|"},
		`did you mean "list"`:                {"keys lst", "roles lits"},
		`did you mean "promote"`:             {"cluster promot n1"},
		`there is no command "x"; see`:       {"audit x", "completion x"},
		"from 1 to 1000, or":                 {"keys list --limit 1001", "audit --limit 0"},
		"from 1 to 10000, or":                {"consumers put c --max-keys 0"},
		"or leave it out":                    {"keys create --expires-in 0s", "keys create --expires-in 100d", "keys create --burst 0", "me keys create --expires-in 0s", "issuers list --timeout 0s", "bench validate --duration -1s"},
		`"--overlap" flag: give a duration`:  {"keys roll key_1 --overlap 1d"},
		"or 0s to stop it at once":           {"keys roll key_1", "keys roll key_1 --overlap -1s", "keys roll key_1 --overlap 721h"},
		"give a whole number from 0 on":      {"keys delete key_1 --if-revision x", "keys delete key_1 --if-revision -1", "keys import --file x --after-line -1"},
		"give true or false":                 {"consumers list --disabled=x"},
		`"issuer" not set; see`:              {"bench revoke"},
		"none of the others can be":          {"keys import --file x --consumer c"},
		"give what is to be changed":         {"consumers set c", "consumers set c --if-revision 5"},
		"--tag: is empty":                    {"consumers list --tag |"},
		"is no target; give one of jti":      {"revoke nothing x"},
		"--issued-before and --and":          {"revoke token x --and client=y"},
		"must be after --since":              {"audit export --since 2026-02-01T00:00:00Z --until 2026-01-01T00:00:00Z"},
		"must be http or https with a host,": {"issuers list --address x", "issuers list --address http://a,", "validate x --data-address 127.0.0.1:7770"},
	} {
		for _, line := range lines {
			args := strings.Split(line, " ")
			for i, arg := range args {
				args[i] = strings.TrimSuffix(arg, "|")
			}
			wrong := exitUsage
			if args[0] == "validate" {
				wrong = exitAsk
			}
			if !strings.Contains(line, "address") {
				args = append(args, nobody...)
			}
			if out, code := execute(t, nil, "", args...); code != wrong || !strings.Contains(out, want) {
				t.Errorf("%s: exit %d, want %d with %q:\n%s", line, code, wrong, want, out)
			}
		}
	}
	if out, code := execute(t, []string{"VETO_TOKEN=a\nb"}, "", "issuers", "list"); code != exitUsage || !strings.Contains(out, "more than one word") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// What is empty and says so in its help means none.
func TestEmptyMeansNone(t *testing.T) {
	for _, args := range [][]string{
		{"consumers", "set", "c", "--name", "", "--tag", "", "--manager", "", "--grantable-scope", "", "--grantable-role", ""},
		{"keys", "create", "--metadata", "[]"},
	} {
		if out, code := execute(t, nil, "", append(args, "--address", "http://127.0.0.1:1")...); code != exitError || !strings.Contains(out, "cannot be reached") {
			t.Errorf("%q: exit %d:\n%s", args, code, out)
		}
	}
}
