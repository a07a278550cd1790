package scripts

import (
	"os"
	"testing"

	"github.com/prometheus/common/expfmt" // the official parser of the text format
	"github.com/prometheus/common/model"
)

// TestMetricsParse checks that Prometheus reads what `lifeline metrics` prints, which
// package tasks compares with the file.
func TestMetricsParse(t *testing.T) {
	f, err := os.Open("../testdata/metrics.prom")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range families {
		if f.GetHelp() == "" || f.GetType().String() == "UNTYPED" {
			t.Errorf("%s has the type %s and the help %q", name, f.GetType(), f.GetHelp())
		}
	}
	up := families["lifeline_up"].GetMetric()
	if len(up) != 2 || up[0].GetGauge().GetValue() != 1 || up[1].GetLabel()[0].GetValue() != "a.b:c@d+e" {
		t.Errorf("lifeline_up: %v", up)
	}
	if n := len(families["lifeline_last_run_exit_code"].GetMetric()); n != 1 {
		t.Errorf("%d names have an exit code, though one has run", n)
	}
	if n := len(families["lifeline_runs_total"].GetMetric()); n != 6 {
		t.Errorf("lifeline_runs_total has %d values", n)
	}
}
