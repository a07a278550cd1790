package tasks

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// option is a row of an options table: how the option is typed, where its value
// goes, and what it means. urfave/cli parses the row as a flag; help, manual and
// completion show it.
type option struct {
	name   string
	short  string // one letter
	group  string // its heading in the help
	to     flag.Value
	value  string // what stands for the value in the help; "" for a switch
	preset string // the default, where `to` doesn't show it
	usage  string
	noEnv  bool // the option doesn't read LIFELINE_<NAME>

	names []string
	given bool // on the command line or in the environment
}

// String returns the long form. String, Apply, Names and IsSet make option a cli.Flag.
func (o *option) String() string { return "--" + o.name }

// Apply adds the option to urfave/cli's set, and takes its value from the environment.
func (o *option) Apply(set *flag.FlagSet) error {
	if text := os.Getenv(o.env()); text != "" && !o.noEnv {
		if err := o.to.Set(text); err != nil {
			return usage("%s=%s: %v", o.env(), text, err)
		}
		o.given = true
	}
	for _, name := range o.Names() {
		set.Var(o.to, name, "")
	}
	return nil
}

func (o *option) Names() []string {
	if o.names == nil {
		o.names = []string{o.name}
		if o.short != "" {
			o.names = append(o.names, o.short)
		}
	}
	return o.names
}

func (o *option) IsSet() bool { return o.given }

// env returns the variable that the option reads.
func (o *option) env() string { return variableOf(o.name) }

func variableOf(option string) string {
	return "LIFELINE_" + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// isSwitch reports whether the option takes no value.
func (o *option) isSwitch() bool { return o.value == "" }

// typed returns the option as the help shows it: -E, --conflict-exit-code N.
func (o *option) typed() string {
	text := "--" + o.name
	if o.short != "" {
		text = "-" + o.short + ", " + text
	}
	if !o.isSwitch() {
		text += " " + o.value
	}
	return text
}

// means returns the option's usage with its default.
func (o *option) means() string {
	preset := o.preset
	if preset == "" && !o.isSwitch() {
		preset = o.to.String()
	}
	if preset == "" || preset == "0" || preset == "0s" {
		return o.usage
	}
	return o.usage + " (default: " + preset + ")"
}

// flags returns the rows of tables as urfave/cli's flags.
func flags(tables ...[]*option) []cli.Flag {
	var all []cli.Flag
	for _, table := range tables {
		for _, o := range table {
			all = append(all, o)
		}
	}
	return all
}

// optionsOf returns the rows that flags got.
func optionsOf(flags []cli.Flag) []*option {
	var table []*option
	for _, f := range flags {
		if o, ok := f.(*option); ok {
			table = append(table, o)
		}
	}
	return table
}

// find returns the option of that name; nil if there is none.
func find(table []*option, name string) *option {
	i := slices.IndexFunc(table, func(o *option) bool { return slices.Contains(o.Names(), name) })
	if i < 0 {
		return nil
	}
	return table[i]
}

// A toggleValue is a switch.
type toggleValue struct{ at *bool }

func toggle(at *bool) toggleValue { return toggleValue{at} }

func (v toggleValue) Set(s string) error {
	switch strings.ToLower(s) {
	case "yes", "on":
		*v.at = true
		return nil
	case "no", "off":
		*v.at = false
		return nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("it is yes or no, true or false, on or off, 1 or 0")
	}
	*v.at = on
	return nil
}

func (v toggleValue) String() string {
	return strconv.FormatBool(v.at != nil && *v.at)
}

// IsBoolFlag tells package flag that no value follows.
func (v toggleValue) IsBoolFlag() bool { return true }

type textValue struct{ at *string }

func text(at *string) textValue { return textValue{at} }

func textOr(at *string, preset string) textValue {
	*at = preset
	return textValue{at}
}

// Set refuses an empty text, because it comes from an unset shell variable: --user
// "$APP" would leave root, --schedule "$WHEN" every minute.
func (v textValue) Set(s string) error {
	if s == "" {
		return errors.New("it is empty: give a value, or leave the option out")
	}
	*v.at = s
	return nil
}

func (v textValue) String() string {
	if v.at == nil {
		return ""
	}
	return *v.at
}

// A numberValue is a number within bounds.
type numberValue struct {
	at       *int
	min, max int
}

func number(at *int, preset int) numberValue {
	*at = preset
	return numberValue{at, math.MinInt, math.MaxInt}
}

func (v numberValue) from(min, max int) numberValue {
	v.min, v.max = min, max
	return v
}

func (v numberValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return fmt.Errorf("not a number")
	case n >= v.min && n <= v.max:
	case v.max == math.MaxInt:
		return fmt.Errorf("it is at least %d", v.min)
	default:
		return fmt.Errorf("it is %d to %d", v.min, v.max)
	}
	*v.at = n
	return nil
}

func (v numberValue) String() string {
	if v.at == nil {
		return ""
	}
	return strconv.Itoa(*v.at)
}

// into reads a number into *at, which stays nil where the option isn't given.
func into(at **int, min, max int) setValue {
	return func(s string) error {
		var n int
		if err := number(&n, 0).from(min, max).Set(s); err != nil {
			return err
		}
		*at = &n
		return nil
	}
}

// A setValue passes a value to a func, and shows no default.
type setValue func(string) error

func set(read func(string) error) setValue { return read }

func (v setValue) Set(s string) error { return v(s) }

func (v setValue) String() string { return "" }

// A durationValue is a time that isn't negative.
type durationValue struct {
	at  *time.Duration
	min time.Duration
}

func duration(at *time.Duration, preset time.Duration) durationValue {
	*at = preset
	return durationValue{at, 0}
}

func (v durationValue) atLeast(min time.Duration) durationValue {
	v.min = min
	return v
}

func (v durationValue) Set(s string) error {
	d, err := parseTime(s)
	switch {
	case err != nil && s != "" && strings.Trim(s, "0123456789") == "":
		return fmt.Errorf("a time has a unit: %ss, %sm, %sh or %sd", s, s, s, s)
	case err != nil:
		return fmt.Errorf("not a time; a time has a unit, such as 500ms, 30s, 5m, 2h or 1d")
	case d < 0:
		return fmt.Errorf("a time can't be negative")
	case d < v.min:
		return fmt.Errorf("the period is at least %s", v.min)
	}
	*v.at = d
	return nil
}

// parseTime reads what time.ParseDuration reads, with weeks and days in front: 1w,
// 1d12h.
func parseTime(s string) (time.Duration, error) {
	var days time.Duration
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, rest, ok := strings.Cut(s, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no number of days or weeks", number)
		}
		days += time.Duration(n) * unit.length
		if s = rest; s == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(s)
	if d < 0 && days > 0 {
		return 0, fmt.Errorf("%q: a minus in the middle", s)
	}
	return days + d, err
}

func (v durationValue) String() string {
	if v.at == nil {
		return ""
	}
	return v.at.String()
}

// choice is a value from a few words.
type choice struct {
	from []string
	get  func() string
	set  func(string)
}

func oneOf[T ~string](at *T, words ...string) choice {
	return choice{words, func() string { return string(*at) }, func(s string) { *at = T(s) }}
}

func (c choice) Set(s string) error {
	if !slices.Contains(c.from, s) {
		return fmt.Errorf("it is one of %s", strings.Join(c.from, ", "))
	}
	c.set(s)
	return nil
}

func (c choice) String() string {
	if c.get == nil { // package flag asks for the zero value's
		return ""
	}
	return c.get()
}
