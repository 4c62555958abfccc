package fromapi

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
)

// rolloutRestart is spec.rolloutRestart.
type rolloutRestart struct {
	Auto      bool              `json:"auto"`
	Workloads []recipe.Workload `json:"workloads"`
	Selector  *struct {
		MatchLabels      map[string]string `json:"matchLabels"`
		MatchExpressions []struct {
			Key      string   `json:"key"`
			Operator string   `json:"operator"`
			Values   []string `json:"values"`
		} `json:"matchExpressions"`
	} `json:"selector"`
}

// parseRolloutRestart parses spec.rolloutRestart; nil if it is not set.
func parseRolloutRestart(asked *rolloutRestart) (*recipe.Restart, error) {
	if asked == nil {
		return nil, nil
	}
	if asked.Auto == (len(asked.Workloads) > 0 || asked.Selector != nil) {
		return nil, fault.New(fault.Invalid, "set spec.rolloutRestart.auto to true, or list "+
			"spec.rolloutRestart.workloads or set spec.rolloutRestart.selector")
	}
	if err := checkCount(len(asked.Workloads), limits.RestartWorkloads, "spec.rolloutRestart.workloads"); err != nil {
		return nil, err
	}
	for i, w := range asked.Workloads {
		field := fmt.Sprintf("spec.rolloutRestart.workloads[%d]", i)
		if !slices.Contains(recipe.WorkloadKinds(), w.Kind) {
			return nil, fault.New(fault.Invalid, "%s.kind %q is not known; use %s", field, w.Kind,
				strings.Join(recipe.WorkloadKinds(), ", "))
		}
		if err := checkFields(fieldRule{field + ".name", w.Name, namePattern, nameHint}); err != nil {
			return nil, err
		}
	}
	labels, err := parseSelector(asked)
	return &recipe.Restart{Auto: asked.Auto, Workloads: asked.Workloads, Labels: labels}, err
}

// parseSelector returns the conditions of the selector, those of matchLabels first, sorted by key.
func parseSelector(asked *rolloutRestart) ([]recipe.LabelCondition, error) {
	const field = "spec.rolloutRestart.selector"
	if asked.Selector == nil {
		return nil, nil
	}
	var all []recipe.LabelCondition
	for _, key := range slices.Sorted(maps.Keys(asked.Selector.MatchLabels)) {
		all = append(all, recipe.LabelCondition{Key: key, Operator: recipe.LabelIn,
			Values: []string{asked.Selector.MatchLabels[key]}})
	}
	for _, e := range asked.Selector.MatchExpressions {
		all = append(all, recipe.LabelCondition{Key: e.Key, Operator: e.Operator, Values: e.Values})
	}
	if len(all) == 0 {
		return nil, fault.New(fault.Invalid,
			"%s is empty and would select every workload of the namespace; set matchLabels or matchExpressions", field)
	}
	if err := checkCount(len(all), limits.RestartLabels, field); err != nil {
		return nil, err
	}
	for _, condition := range all {
		if err := checkLabelCondition(condition, field); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// The patterns of labels in Kubernetes. The key is checked without its prefix, which is a DNS subdomain.
var (
	labelNamePattern  = pattern{regexp.MustCompile(`^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$`), 63}
	labelValuePattern = pattern{regexp.MustCompile(`^([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?)?$`), 63}
)

const labelHint = "use at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both ends"

func checkLabelCondition(c recipe.LabelCondition, field string) error {
	name := c.Key
	if prefix, rest, ok := strings.Cut(c.Key, "/"); ok {
		if err := checkFields(fieldRule{field + " key prefix", prefix, namePattern, nameHint}); err != nil {
			return err
		}
		name = rest
	}
	if err := checkFields(fieldRule{field + " key", name, labelNamePattern, labelHint}); err != nil {
		return err
	}
	switch c.Operator {
	case recipe.LabelIn, recipe.LabelNotIn:
		if len(c.Values) == 0 {
			return fault.New(fault.Invalid, "%s.matchExpressions: %s of label %q needs values", field, c.Operator,
				c.Key)
		}
	case recipe.LabelExists, recipe.LabelDoesNotExist:
		if len(c.Values) > 0 {
			return fault.New(fault.Invalid, "%s.matchExpressions: %s of label %q takes no values; remove them", field,
				c.Operator, c.Key)
		}
	default:
		return fault.New(fault.Invalid,
			"%s.matchExpressions: the operator %q is not known; use In, NotIn, Exists or DoesNotExist", field,
			c.Operator)
	}
	if err := checkCount(len(c.Values), limits.RestartLabelValues, field+".matchExpressions[].values"); err != nil {
		return err
	}
	for _, value := range c.Values {
		if err := checkFields(fieldRule{field + " value", value, labelValuePattern, labelHint}); err != nil {
			return err
		}
	}
	return nil
}
