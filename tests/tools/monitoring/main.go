// Command monitoring checks what the chart has for Grafana and Prometheus, as these programs would read it, and prints
// the names of the metrics that it queries, one a line.
//
//	monitoring dashboard FILE   a dashboard: Grafana's own types, without unknown fields; places and ids of panels;
//	                            variables; and each query in PromQL
//	monitoring rules FILE       groups of rules: Prometheus's own reader, without unknown fields
//
// It is a module of its own, so that its dependencies are not those of the product.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	metrics, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, name := range metrics {
		fmt.Println(name)
	}
}

func run(args []string) ([]string, error) {
	if len(args) != 2 {
		return nil, errors.New("usage: monitoring dashboard|rules FILE")
	}
	content, err := os.ReadFile(args[1])
	if err != nil {
		return nil, err
	}
	c := checker{parser: parser.NewParser(parser.Options{}), metrics: map[string]bool{}}
	switch args[0] {
	case "dashboard":
		c.checkDashboard(content)
	case "rules":
		c.checkRules(content)
	default:
		return nil, fmt.Errorf("%q is neither dashboard nor rules", args[0])
	}
	return slices.Sorted(maps.Keys(c.metrics)), errors.Join(c.problems...)
}

// checker collects problems, and the metrics that queries name.
type checker struct {
	parser   parser.Parser
	metrics  map[string]bool
	problems []error
}

func (c *checker) addf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// checkQuery parses a query, and adds its metrics.
func (c *checker) checkQuery(where, query string) {
	expression, err := c.parser.ParseExpr(query)
	if err != nil {
		c.addf("%s: %w in %s", where, err, query)
		return
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			c.addMetrics(where, selector)
		}
		return nil
	})
}

// addMetrics adds the name in a selector, which it must have.
func (c *checker) addMetrics(where string, selector *parser.VectorSelector) {
	for _, matcher := range selector.LabelMatchers {
		if matcher.Name == model.MetricNameLabel && matcher.Type == labels.MatchEqual {
			c.metrics[matcher.Value] = true
			return
		}
	}
	c.addf("%s: the selector %s names no metric", where, selector)
}

func (c *checker) checkRules(content []byte) {
	groups, problems := rulefmt.Parse(content, false, model.LegacyValidation, c.parser, slog.New(slog.DiscardHandler))
	if c.problems = append(c.problems, problems...); groups == nil {
		return
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			c.checkQuery(group.Name+" "+rule.Alert+rule.Record, rule.Expr)
		}
	}
}

func (c *checker) checkDashboard(content []byte) {
	plugins.RegisterDefaultPlugins()
	// The strict reader finds fields that are unknown or missing, but leaves panels out (v0.0.22), so both are needed.
	var strict, board dashboard.Dashboard //nolint:staticcheck // it prefers a schema that Grafana 11 does not read
	if err := strict.UnmarshalJSONStrict(content); isFailure(err) {
		c.addf("it is not a dashboard: %w", err)
		return
	}
	if err := json.Unmarshal(content, &board); err != nil {
		c.addf("it is not a dashboard: %w", err)
		return
	}
	if err := board.Validate(); isFailure(err) {
		c.addf("it is not valid: %w", err)
	}
	c.checkTargets(content)
	declared := c.checkVariables(board.Templating.List)
	panels := c.panelsOf(board)
	c.checkPlaces(panels)
	for _, panel := range panels {
		c.checkPanel(panel, declared)
	}
	for _, used := range variableUse.FindAllStringSubmatch(string(content), -1) {
		if name := used[1] + used[2]; !strings.HasPrefix(name, "__") && !declared[name] {
			c.addf("the variable $%s is not declared", name)
		}
	}
}

// isFailure reports whether an error of Grafana's types is one: they return an empty list in place of nil.
func isFailure(err error) bool {
	var all cog.BuildErrors
	return err != nil && (!errors.As(err, &all) || len(all) > 0)
}

// checkTargets checks the fields of queries, which the strict reader of a dashboard takes as of an unknown data source.
func (c *checker) checkTargets(content []byte) {
	type panel struct {
		Title   string
		Targets []json.RawMessage
		Panels  []panel
	}
	var root panel
	if err := json.Unmarshal(content, &root); err != nil {
		c.addf("it is not a dashboard: %w", err)
		return
	}
	for _, outer := range root.Panels {
		for _, inner := range append(outer.Panels, outer) {
			for _, target := range inner.Targets {
				var query prometheus.Dataquery
				if err := query.UnmarshalJSONStrict(target); isFailure(err) {
					c.addf("%s: a query has wrong fields: %w", inner.Title, err)
				}
			}
		}
	}
}

// variableUse finds $NAME and ${NAME}. Names with two underscores are those of Grafana itself.
var variableUse = regexp.MustCompile(`\$(?:(\w+)|\{(\w+)[^}]*\})`)

// labelValues is the query of a variable whose values are those of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), *\w+\)$`)

// checkVariables checks the queries of variables, and returns their names.
func (c *checker) checkVariables(variables []dashboard.VariableModel) map[string]bool {
	declared := map[string]bool{}
	for _, variable := range variables {
		if declared[variable.Name] {
			c.addf("the variable %s is declared twice", variable.Name)
		}
		declared[variable.Name] = true
		if variable.Type != dashboard.VariableTypeQuery {
			continue
		}
		if variable.Query == nil || variable.Query.Map == nil {
			c.addf("the variable %s has no query", variable.Name)
			continue
		}
		query, _ := variable.Query.Map["query"].(string)
		found := labelValues.FindStringSubmatch(query)
		if found == nil {
			c.addf("the variable %s has the query %q, and not label_values(METRIC, LABEL)", variable.Name, query)
			continue
		}
		c.checkQuery("variable "+variable.Name, found[1])
	}
	return declared
}

// panelsOf returns all panels, also those in rows.
func (c *checker) panelsOf(board dashboard.Dashboard) []dashboard.Panel { //nolint:staticcheck // as above
	var all []dashboard.Panel
	for _, one := range board.Panels {
		if one.Panel != nil {
			all = append(all, *one.Panel)
		}
		if one.RowPanel != nil {
			all = append(all, one.RowPanel.Panels...)
		}
	}
	if len(all) == 0 {
		c.addf("it has no panels")
	}
	return all
}

// gridWidth is the number of columns of a dashboard.
const gridWidth = 24

// checkPlaces checks that panels have a title and an id of their own, and do not overlap.
func (c *checker) checkPlaces(panels []dashboard.Panel) {
	ids, cells := map[uint32]bool{}, map[[2]uint32]string{}
	for _, panel := range panels {
		if panel.Title == nil || *panel.Title == "" || panel.Id == nil || panel.GridPos == nil {
			c.addf("a panel of type %s has no title, id or place", panel.Type)
			continue
		}
		if ids[*panel.Id] {
			c.addf("two panels have the id %d", *panel.Id)
		}
		ids[*panel.Id] = true
		c.checkPlace(*panel.Title, *panel.GridPos, cells)
	}
}

// checkPlace checks that a panel is in the grid, and overlaps none in the cells that are taken.
func (c *checker) checkPlace(title string, place dashboard.GridPos, cells map[[2]uint32]string) {
	if place.W == 0 || place.H == 0 || place.X+place.W > gridWidth {
		c.addf("the panel %q is outside the grid", title)
		return
	}
	for x := place.X; x < place.X+place.W; x++ {
		for y := place.Y; y < place.Y+place.H; y++ {
			if other := cells[[2]uint32{x, y}]; other != "" && other != title {
				c.addf("the panels %q and %q overlap", other, title)
			}
			cells[[2]uint32{x, y}] = title
		}
	}
}

// checkPanel checks the data source and the queries of a panel.
func (c *checker) checkPanel(panel dashboard.Panel, declared map[string]bool) {
	title := "a panel"
	if panel.Title != nil {
		title = *panel.Title
	}
	if panel.Type == "text" {
		return
	}
	source := panel.Datasource
	if source == nil || source.Uid == nil || !declared[strings.Trim(*source.Uid, "${}")] {
		c.addf("%s: its data source is not a variable, so it has none in other installations of Grafana", title)
	}
	if len(panel.Targets) == 0 {
		c.addf("%s: it has no query", title)
	}
	refs := map[string]bool{}
	for _, target := range panel.Targets {
		query, ok := target.(prometheus.Dataquery)
		if pointer, isPointer := target.(*prometheus.Dataquery); isPointer {
			query, ok = *pointer, true
		}
		if !ok {
			c.addf("%s: a query is not for Prometheus but %T", title, target)
			continue
		}
		if query.RefId == nil || refs[*query.RefId] {
			c.addf("%s: a query has no refId of its own", title)
		} else {
			refs[*query.RefId] = true
		}
		c.checkQuery(title, intervals.ReplaceAllString(query.Expr, "5m"))
	}
}

// intervals are Grafana's variables with a duration, which PromQL does not know.
var intervals = regexp.MustCompile(`\$(?:__rate_interval|__interval|__range)\b|\$\{__(?:rate_interval|interval|range)\}`)
