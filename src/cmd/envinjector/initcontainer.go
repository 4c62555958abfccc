package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
)

// initContainer is the value env_injector.initContainer.
type initContainer struct {
	Resources       corev1.ResourceRequirements `json:"resources"`
	SecurityContext struct {
		RunAsUser              *int64 `json:"runAsUser"`
		RunAsGroup             *int64 `json:"runAsGroup"`
		ReadOnlyRootFilesystem *bool  `json:"readOnlyRootFilesystem"`
	} `json:"securityContext"`
}

// Set parses the flag. Fields that could violate the restricted Pod Security Standard are unknown, and so rejected.
func (i *initContainer) Set(text string) error {
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(i); err != nil {
		return fmt.Errorf("reading the value env_injector.initContainer: %w; it can have resources, and "+
			"runAsUser, runAsGroup and readOnlyRootFilesystem of securityContext", err)
	}
	if user := i.SecurityContext.RunAsUser; user != nil && *user < 1 {
		return errors.New("env_injector.initContainer.securityContext.runAsUser must be above 0: the init container " +
			"never runs as root")
	}
	return nil
}

// The names of v1's variables for the init container. A chart value for the same setting overrides the variable.
const (
	securityPrefix  = "WEBHOOK_CONTAINER_SECURITY_CONTEXT_"
	resourcesPrefix = "WEBHOOK_INIT_CONTAINER_"
	pullPolicyName  = "WEBHOOK_CONTAINER_IMAGE_PULL_POLICY"
)

// variables reads the environment variables of v1.
type variables struct {
	lookup   func(string) (string, bool)
	warnings []string
	err      error
}

func (o *variables) text(name string) string {
	value, _ := o.lookup(name)
	return value
}

// flag returns a boolean variable; nil if it is not set.
func (o *variables) flag(name string) *bool {
	text := o.text(securityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be true or false", securityPrefix+name))
	}
	return &value
}

// number returns a number that is not negative; nil if the variable is not set.
func (o *variables) number(name string) *int64 {
	text := o.text(securityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be a number", securityPrefix+name))
	}
	return &value
}

func (o *variables) quantity(name string, kind corev1.ResourceName, into *corev1.ResourceList) {
	text := o.text(resourcesPrefix + name)
	if text == "" {
		return
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be a quantity such as 10m or 64Mi", resourcesPrefix+name))
	}
	if *into == nil {
		*into = corev1.ResourceList{}
	}
	if _, set := (*into)[kind]; !set {
		(*into)[kind] = quantity
	}
}

// refuse adds a warning if a variable requests what the restricted Pod Security Standard forbids.
func (o *variables) refuse(name string, forbidden bool) {
	if value := o.flag(name); value != nil && *value == forbidden {
		o.warnings = append(o.warnings,
			fmt.Sprintf("%s=%t is ignored: the init container always passes the restricted Pod Security Standard",
				securityPrefix+name, forbidden))
	}
}

// settings merges the chart value with the v1 variables, which fill the fields that the value does not set. It
// returns the warnings about ignored variables.
func (i initContainer) settings(lookup func(string) (string, bool)) (inject.Init, []string, error) {
	o := &variables{lookup: lookup}
	security, out := i.SecurityContext, inject.Init{Resources: *i.Resources.DeepCopy()}
	o.quantity("REQUESTS_CPU", corev1.ResourceCPU, &out.Resources.Requests)
	o.quantity("REQUESTS_MEMORY", corev1.ResourceMemory, &out.Resources.Requests)
	o.quantity("LIMITS_MEMORY", corev1.ResourceMemory, &out.Resources.Limits)
	o.refuse("PRIVILEGED", true)
	o.refuse("ALLOW_PRIVILEGE_ESCALATION", true)
	o.refuse("NON_ROOT", false)
	o.refuse("SECCOMP_RUNTIME_DEFAULT", false)
	user, group, readOnly := o.number("USER_UID"), o.number("GROUP_GID"), o.flag("READ_ONLY")
	if user != nil && *user == 0 {
		o.warnings = append(o.warnings, securityPrefix+"USER_UID=0 is ignored: the init container never runs as root")
	}
	user, out.Group, readOnly = first(security.RunAsUser, user), first(security.RunAsGroup, group),
		first(security.ReadOnlyRootFilesystem, readOnly)
	if user != nil {
		out.User = *user
	}
	out.Writable = readOnly != nil && !*readOnly
	return out, o.warnings, o.err
}

// first returns a if it is set, else b.
func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// pullPolicyOf returns the pull policy of the init container. The v1 variable overrides the flag, which
// always has a value.
func (s settings) pullPolicyOf() (corev1.PullPolicy, error) {
	text, _ := s.lookup(pullPolicyName)
	if text == "" {
		text = s.pullPolicy
	}
	switch policy := corev1.PullPolicy(text); policy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return policy, nil
	}
	return "", fmt.Errorf("the pull policy of the init container is %q; use Always, IfNotPresent or Never in the "+
		"value env_injector.envImage.pullPolicy, and remove %s", text, pullPolicyName)
}
