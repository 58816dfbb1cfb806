package report

import (
	"bytes"
	"fmt"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// theme is how a picture is drawn for a background. The background itself is left open.
type theme struct {
	name             string
	ink, faint, grid color.NRGBA
	series           []color.NRGBA // the first is Veto's
}

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 0xff}
}

func colours(hex ...uint32) (all []color.NRGBA) {
	for _, h := range hex {
		all = append(all, rgb(h))
	}
	return all
}

func themes() []theme {
	return []theme{
		{"light", rgb(0x1f2328), rgb(0x59636e), rgb(0xd8dee4), colours(0x0757ba, 0x1a8fd6, 0x6f42c1, 0xbc4c00, 0x9a6700, 0xcf222e, 0x1a7f37, 0x8c959f)},
		{"dark", rgb(0xe6edf3), rgb(0x9198a1), rgb(0x30363d), colours(0x4ea1ff, 0x8ed0ff, 0xb392f0, 0xffa657, 0xe3b341, 0xff7b72, 0x56d364, 0x7d8590)},
	}
}

const (
	width   = 760
	tall    = 420
	heading = 15
	plain   = 11.5
)

func sans(size float64, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

// canvas is an empty plot in the theme.
func (t theme) canvas(title, x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle = sans(heading, t.ink)
	p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	p.Title.Padding = vg.Points(6)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		label := a.Label.TextStyle
		a.Label.TextStyle = sans(plain, t.faint)
		a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign, a.Label.TextStyle.Rotation = label.XAlign, label.YAlign, label.Rotation
		ticks := a.Tick.Label
		a.Tick.Label = sans(plain, t.faint)
		a.Tick.Label.XAlign, a.Tick.Label.YAlign = ticks.XAlign, ticks.YAlign
		a.LineStyle.Color, a.Tick.LineStyle.Color = t.grid, t.grid
		a.Label.Padding, a.Padding = vg.Points(6), vg.Points(2)
	}
	p.Legend.TextStyle = sans(plain, t.ink)
	p.Legend.ThumbnailWidth, p.Legend.Padding = vg.Points(18), vg.Points(3)
	return p
}

// svg draws it. The fonts that it names are as wide as the one that it was measured by. What it says in words is for those who do not see it.
func (t theme) svg(p *plot.Plot, width, height float64, words string) ([]byte, error) {
	return t.drawn(width, height, words, func(c draw.Canvas) { p.Draw(c) })
}

func (t theme) drawn(width, height float64, words string, paint func(draw.Canvas)) ([]byte, error) {
	c := vgsvg.New(vg.Points(width), vg.Points(height))
	paint(draw.Crop(draw.New(c), vg.Points(8), -vg.Points(12), vg.Points(8), -vg.Points(8)))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, err
	}
	s := b.String()
	for _, name := range []string{"Liberation Sans", "LiberationSans"} {
		s = strings.ReplaceAll(s, "font-family:"+name, "font-family:Arial,Helvetica,Liberation Sans,sans-serif")
	}
	at := strings.Index(s, "<svg")
	at += strings.IndexByte(s[at:], '>') + 1
	return []byte(s[:at] + fmt.Sprintf("\n<title>%s</title>", words) + s[at:]), nil
}
