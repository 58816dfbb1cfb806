package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"veto/bench/side/measure"
)

var update = flag.Bool("update", false, "write the golden page anew")

func found() Found {
	run := Run{When: "2026-01-02 03:04 UTC", Commit: "abc", Command: "make bench", Machine: []string{"2 cores"}, Versions: map[string]string{"Go": "1.26", "etcd": "3.4"}}
	half := 0.5
	open := func(rate float64, p99 int64) measure.Loaded {
		o := measure.Loaded{Wanted: rate, Rate: rate}
		o.Latency.P50, o.Latency.P99 = p99/3, p99
		return o
	}
	return Found{
		Validate: &Part[measure.Validate]{run, measure.Validate{
			Sizes: measure.Sizes{Rounds: 3, Round: time.Second, Revoked: 10}, Cases: []string{"good", "revoked"},
			Systems: []measure.Measure{
				{Name: "veto-warm", Title: "Veto, tokens seen before", About: "as it comes.", Rates: []float64{50_000, 51_000, 49_000}, CPU: []float64{10, 10, 11}, Busy: []float64{0.9}, Open: []measure.Loaded{open(1000, 120), open(25_000, 900)}},
				{Name: "veto-cold", Title: "Veto, tokens never seen", Rates: []float64{20_000}, CPU: []float64{40}, Busy: []float64{0.4}, Open: []measure.Loaded{open(1000, 300), open(10_000, 2000)}},
				{Name: "golang-jwt-cached", Title: "someone quicker", Rates: []float64{100_000}, CPU: []float64{5}, StoreCPU: []float64{2}, Busy: []float64{1}},
				{Name: "empty", Title: "an empty handler", Rates: []float64{60_000}, CPU: []float64{9}, Open: []measure.Loaded{open(1000, 100)}},
			},
		}},
		Denial: &Part[measure.Denial]{run, measure.Denial{Systems: []measure.Denied{
			{Name: "veto", Title: "Veto", Veto: true, About: "three.", At: []measure.DeniedAt{{DelayMS: 0, Count: 10, P50: 700, P99: 2200, Max: 3000}, {DelayMS: 40, Count: 10, P50: 43_000, P99: 46_000, Max: 50_000}}, LeaderLostMS: 1.5},
			{Name: "cached", Title: "another", About: "one.", At: []measure.DeniedAt{{DelayMS: 0, Count: 10, P50: 350, P99: 900, Max: 1000}}, LeaderLostMS: -1},
		}}},
		Revoke: &Part[measure.Revoke]{run, measure.Revoke{Systems: []measure.Revoked{
			{Name: "veto", Title: "Veto", About: "three.", Loses: "nothing", At: []measure.RevokedAt{{Writers: 1, Rates: []float64{500}, CPU: []float64{200}, P50: 1900, P99: 5000}}, Bulk: []float64{70_000}},
			{Name: "other", Title: "another", About: "one.", Loses: "a second", At: []measure.RevokedAt{{Writers: 1, Rates: []float64{1000}, CPU: []float64{100}, P50: 900, P99: 2000}}, Bulk: []float64{7_000}},
		}}},
		Inside: &Part[measure.Inside]{run, measure.Inside{Checks: []measure.Check{
			{What: "Veto, a token never seen", Alg: "RS256", Nanos: 29_000, Floor: 1.08, Allocs: -1}, {What: "Veto, an API key", Nanos: 390, Allocs: 0},
		}}},
		Scale: &Part[measure.Scale]{run, measure.Scale{Curves: []measure.Curve{
			{Of: "revocations", Cost: "memory", Unit: "MiB", X: []float64{1, 10, 100}, Y: []float64{1, 3.2, 10}, Slope: &half, Each: &half, Note: "all of it."},
			{Of: "voters", Cost: "a commit", Unit: "ms", X: []float64{1, 3}, Y: []float64{1, 2}},
		}}},
	}
}

// B4: what is lost is shown as what is won.
func TestPageIsAsItWas(t *testing.T) {
	page := Page(found())
	file := filepath.Join("testdata", "page.md")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(page), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), page)
	require.Contains(t, page, "| someone quicker | 0.50 x |")
	require.Contains(t, page, "| another | 0 ms | 0.50 x |")
	require.Contains(t, page, "| another | 1 | 0.50 x |")
	require.Contains(t, page, "| someone quicker | 5 us | 100 k | 350 us, p99 900 us |")
}

func TestPartsAreEnough(t *testing.T) {
	all := found()
	for name, f := range map[string]Found{"none": {}, "validate": {Validate: all.Validate}, "denial": {Denial: all.Denial}, "revoke": {Revoke: all.Revoke}, "scale": {Scale: all.Scale}, "inside": {Inside: all.Inside}} {
		page := Page(f)
		require.Contains(t, page, "# What was measured", name)
		require.Equal(t, name == "validate", strings.Contains(page, "## Validations"), name)
		require.Equal(t, name == "scale", strings.Contains(page, "## How cost grows"), name)
		_, err := pictures(f)
		require.NoError(t, err)
	}
	_, err := Read(t.TempDir())
	require.NoError(t, err, "a directory without anything")
}

// B5
func TestPicturesAreWhole(t *testing.T) {
	files, err := pictures(found())
	require.NoError(t, err)
	require.Len(t, files, 6)
	for name, b := range files {
		for d := xml.NewDecoder(strings.NewReader(string(b))); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
		}
		require.Contains(t, string(b), "<title>", name)
	}
	require.NotEqual(t, files["denial-dark.svg"], files["denial-light.svg"])
}
