// Package tap is what the programs of runtime-tools want of github.com/mndrix/tap-go, which Debian does not have: a plan, points and what
// belongs to them, as version 13 of the Test Anything Protocol has it. Used by scripts/suites.
package tap

import (
	"encoding/json"
	"fmt"
	"strings"
)

// T numbers the points; Todo shares the number.
type T struct {
	points *int
	todo   string
}

// New is a list without points.
func New() *T { return &T{points: new(int)} }

// Header begins the output; a plan of nothing is left to AutoPlan.
func (t *T) Header(plan int) {
	fmt.Println("TAP version 13")
	if plan > 0 {
		fmt.Printf("1..%d\n", plan)
	}
}

// AutoPlan says how many points there were.
func (t *T) AutoPlan() { fmt.Printf("1..%d\n", *t.points) }

// Ok is a point.
func (t *T) Ok(passed bool, description string) {
	if passed {
		t.point("ok", description)
	} else {
		t.point("not ok", description)
	}
}

// Pass is a point that holds.
func (t *T) Pass(description string) { t.point("ok", description) }

// Fail is a point that does not.
func (t *T) Fail(description string) { t.point("not ok", description) }

// Skip is `count` points that were not looked at.
func (t *T) Skip(count int, description string) {
	for ; count > 0; count-- {
		t.point("ok", "# SKIP "+description)
	}
}

// Todo is the same list, whose next point may fail.
func (t *T) Todo() *T { return &T{points: t.points, todo: "# TODO "} }

// A point is one line.
func (t *T) point(verdict, description string) {
	*t.points++
	fmt.Printf("%s %d %s%s\n", verdict, *t.points, t.todo, strings.ReplaceAll(description, "\n", " "))
}

// Diagnostic is a remark.
func (t *T) Diagnostic(remark string) {
	for _, line := range strings.Split(remark, "\n") {
		fmt.Printf("# %s\n", line)
	}
}

// Diagnosticf is a remark with values.
func (t *T) Diagnosticf(format string, values ...interface{}) { t.Diagnostic(fmt.Sprintf(format, values...)) }

// YAML belongs to the point before it. JSON is YAML.
func (t *T) YAML(values interface{}) error {
	text, err := json.MarshalIndent(values, "  ", "  ")
	if err == nil {
		fmt.Printf("  ---\n  %s\n  ...\n", text)
	}
	return err
}
