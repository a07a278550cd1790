// Plot draws the rows of BENCHMARKS.md that grow with the number of processes.
// It makes one SVG for each kind of table that the page has for several numbers
// of processes. Plot is a module of its own, because lifeline's module doesn't
// require its library.
//
//	cd proof/plot && go run . ../../BENCHMARKS.md ../../docs
package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// series is one row, over the numbers of processes.
type series struct {
	name   string
	points plotter.XYs // processes, milliseconds
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: plot BENCHMARKS.md DIRECTORY")
		os.Exit(64)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	charts := parse(string(text))
	if len(charts) == 0 {
		return fmt.Errorf("%s has no table for more than one number of processes", from)
	}
	for title, rows := range charts {
		path := filepath.Join(to, "bench-"+slug(title)+".svg")
		if err := draw(title, rows, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Println(path)
	}
	return nil
}

func slug(title string) string {
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(title), "-"), "-")
}

var heading = regexp.MustCompile(`^### (.*), (\d+) processes$`)

// parse reads every table whose heading ends in a number of processes. The first
// column of a row is its name, the second its figure.
func parse(text string) map[string][]series {
	charts := map[string][]series{}
	title, n := "", 0.0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			title = ""
			if m := heading.FindStringSubmatch(line); m != nil {
				title = m[1]
				n, _ = strconv.ParseFloat(m[2], 64)
			}
			continue
		}
		cells := strings.Split(line, "|")
		if title == "" || len(cells) < 4 {
			continue
		}
		name := strings.TrimSpace(cells[1])
		took, err := time.ParseDuration(strings.ReplaceAll(strings.TrimSpace(cells[2]), " ", ""))
		if err != nil { // the head, the rule
			continue
		}
		rows := charts[title]
		i := slices.IndexFunc(rows, func(s series) bool { return s.name == name })
		if i < 0 {
			i = len(rows)
			rows = append(rows, series{name: name})
		}
		rows[i].points = append(rows[i].points, plotter.XY{X: n, Y: took.Seconds() * 1000})
		charts[title] = rows
	}
	for title, rows := range charts {
		rows = slices.DeleteFunc(rows, func(s series) bool { return len(s.points) < 2 })
		for _, s := range rows {
			slices.SortFunc(s.points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		}
		if charts[title] = rows; len(rows) == 0 {
			delete(charts, title)
		}
	}
	return charts
}

// draw makes both scales logarithmic, so that a flat line is a cost that doesn't grow.
func draw(title string, rows []series, path string) error {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text, p.Y.Label.Text = "processes", "milliseconds, median"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, s := range rows {
		line, dots, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		line.Color, dots.Color, dots.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		p.Add(line, dots)
		p.Legend.Add(s.name, line, dots)
	}
	return p.Save(18*vg.Centimeter, 12*vg.Centimeter, path)
}
