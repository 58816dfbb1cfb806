package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"veto/bench/side/measure"
)

// Run says when, where and of what something was measured.
type Run struct {
	When     string            `json:"when"`
	Commit   string            `json:"commit"`
	Command  string            `json:"command"`
	Machine  []string          `json:"machine"`
	Versions map[string]string `json:"versions"`
	Quick    bool              `json:"quick"`
}

// Found are all sections that were measured; those that were not are nil.
type Found struct {
	Validate *Part[measure.Validate]
	Revoke   *Part[measure.Revoke]
	Denial   *Part[measure.Denial]
	Scale    *Part[measure.Scale]
	Inside   *Part[measure.Inside]
}

// Part is a section with the run that it is of: each may be measured by itself.
type Part[T any] struct {
	Run   Run `json:"run"`
	Found T   `json:"found"`
}

// Read reads the sections in a directory.
func Read(dir string) (f Found, err error) {
	return f, errors.Join(read(dir, "validate", &f.Validate), read(dir, "revoke", &f.Revoke), read(dir, "denial", &f.Denial), read(dir, "scale", &f.Scale), read(dir, "inside", &f.Inside))
}

func read[T any](dir, name string, to **Part[T]) error {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	return err
}

// Write makes the page and the pictures of what is in a directory, beside it.
func Write(dir string) error {
	f, err := Read(dir)
	if err != nil {
		return err
	}
	files, err := pictures(f)
	if err != nil {
		return err
	}
	files["README.md"] = []byte(Page(f))
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func pictures(f Found) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, t := range themes() {
		draw := func(name string, make func() ([]byte, error)) error {
			b, err := make()
			files[name+"-"+t.name+".svg"] = b
			return err
		}
		var err error
		if f.Validate != nil {
			v := &f.Validate.Found
			err = errors.Join(
				draw("latency", func() ([]byte, error) { return latencies(t, v) }),
				draw("throughput", func() ([]byte, error) { return throughput(t, v) }),
			)
		}
		if f.Denial != nil {
			err = errors.Join(err, draw("denial", func() ([]byte, error) { return denials(t, &f.Denial.Found) }))
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func throughput(t theme, v *measure.Validate) ([]byte, error) {
	var all []bar
	for _, s := range v.Systems {
		all = append(all, bar{title: s.Title, value: measure.Median(s.Rates), veto: strings.HasPrefix(s.Name, "veto-"), floor: strings.HasPrefix(s.Name, "empty")})
	}
	return bars(t, "Validations a second, on one core", "", all, "Validations a second on one core, Veto beside what else people build and beside handlers that do nothing")
}

// page is a Markdown page in the making.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.Builder, format+"\n", args...) }

func (p *page) row(cells ...string) { p.line("| %s |", strings.Join(cells, " | ")) }

func (p *page) head(cells ...string) {
	p.row(cells...)
	rule := []string{"---"}
	for range cells[1:] {
		rule = append(rule, "---:")
	}
	p.row(rule...)
}

func (p *page) picture(name, words string) {
	p.line("<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"%s-dark.svg\">\n  <img alt=\"%s\" src=\"%s-light.svg\">\n</picture>\n", name, words, name)
}

func (p *page) run(r Run) {
	p.line("<details><summary>Measured %s, at commit %s</summary>\n", r.When, r.Commit)
	p.line("```\n%s\n```\n", r.Command)
	for _, m := range r.Machine {
		p.line("- %s", m)
	}
	names := []string{}
	for name := range r.Versions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p.line("- %s %s", name, r.Versions[name])
	}
	p.line("\n</details>\n")
	if r.Quick {
		p.line("**This was a quick run, to see that everything works: with few and short rounds: its numbers are for looking, and not for quoting.**\n")
	}
}

// Page is the report in Markdown.
func Page(f Found) string {
	p := &page{}
	p.line("# What was measured\n")
	p.line("Made by `make bench`. Every system ran on the same machine in the same run, was asked by the same program with the\nsame requests, in turns, and was first held against what it must say. Ratios come first: they hold on other\nmachines more than times do.\n")
	if f.Validate != nil {
		p.validate(f.Validate)
	}
	if f.Inside != nil {
		p.inside(f.Inside)
	}
	if f.Denial != nil {
		p.denial(f.Denial)
	}
	if f.Denial != nil && f.Validate != nil {
		p.both(f.Validate.Found, f.Denial.Found)
	}
	if f.Revoke != nil {
		p.revoke(f.Revoke)
	}
	if f.Scale != nil {
		p.scale(f.Scale)
	}
	return p.String()
}

func (p *page) validate(part *Part[measure.Validate]) {
	v := part.Found
	p.line("## Validations\n")
	p.run(part.Run)
	for _, s := range v.Systems {
		if measure.Spread(s.Rates) > restless {
			p.line("**The machine was busy with other things: rounds of the same system lay up to %.0f %% apart. Look at the processor time.**\n", 100*widest(v))
			break
		}
	}
	p.picture("throughput", "Validations a second on one core")
	find := func(name string) *measure.Measure {
		for i := range v.Systems {
			if v.Systems[i].Name == name {
				return &v.Systems[i]
			}
		}
		return &measure.Measure{}
	}
	warm, cold := find("veto-warm"), find("veto-cold")
	p.head("system", "Veto, seen before, answers", "and takes of the processor", "Veto, never seen, takes", "answers a second", "spread", "processor a request", "its store", "p50 / p99 at half its rate", "generator")
	for _, s := range v.Systems {
		store := ""
		if len(s.StoreCPU) > 0 {
			store = micros(measure.Median(s.StoreCPU))
		}
		p.row(s.Title, ratio(warm.Rates, s.Rates), ratio(warm.CPU, s.CPU), ratio(cold.CPU, s.CPU), count(measure.Median(s.Rates)), fmt.Sprintf("%.0f %%", 100*measure.Spread(s.Rates)),
			micros(measure.Median(s.CPU)), store, halfway(s), fmt.Sprintf("%.0f %%", 100*measure.Median(s.Busy)))
	}
	p.line("\nWhat answers has a core of its own; who asks, Redis and etcd share another. Where the generator used nearly all of its\ncore, it was the bound, and the processor time for a request is the better measure. %d revocations, %d rounds of %s, 64\nconnections. Each was right about a token that is: %s.\n", v.Sizes.Revoked, v.Sizes.Rounds, v.Sizes.Round, strings.Join(v.Cases, ", "))
	p.picture("latency", "Latency against throughput")
	p.line("In the open loop: requests are due at a fixed rate, and a latency is counted from when its request was due.\n")
	for _, s := range v.Systems {
		p.line("- **%s**: %s", s.Title, s.About)
	}
	p.line("")
}

// restless is a spread of rounds above which throughput says little.
const restless = 0.25

func widest(v measure.Validate) (far float64) {
	for _, s := range v.Systems {
		far = max(far, measure.Spread(s.Rates))
	}
	return far
}

// ratio is how many times a is b.
func ratio(a, b []float64) string {
	if measure.Median(a) == 0 || measure.Median(b) == 0 {
		return ""
	}
	r := measure.Median(a) / measure.Median(b)
	if r < 10 {
		return fmt.Sprintf("%.2f x", r)
	}
	return fmt.Sprintf("%.0f x", r)
}

// halfway are the latencies at the rate of the open loop that is nearest to half of what the system can do.
func halfway(s measure.Measure) string {
	var best *measure.Loaded
	half := measure.Median(s.Rates) / 2
	for i := range s.Open {
		if o := &s.Open[i]; best == nil || abs(o.Wanted-half) < abs(best.Wanted-half) {
			best = o
		}
	}
	if best == nil {
		return ""
	}
	return micros(float64(best.Latency.P50)) + " / " + micros(float64(best.Latency.P99))
}

func abs(v float64) float64 { return max(v, -v) }
