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

// initContainerValue is the value env_injector.initContainerValue.
type initContainerValue struct {
	Resources       corev1.ResourceRequirements `json:"resources"`
	SecurityContext struct {
		RunAsUser              *int64 `json:"runAsUser"`
		RunAsGroup             *int64 `json:"runAsGroup"`
		ReadOnlyRootFilesystem *bool  `json:"readOnlyRootFilesystem"`
	} `json:"securityContext"`
}

// Set parses the flag. Fields that could violate the restricted Pod Security Standard are unknown, and so rejected.
func (i *initContainerValue) Set(text string) error {
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
	v1SecurityPrefix     = "WEBHOOK_CONTAINER_SECURITY_CONTEXT_"
	v1ResourcesPrefix    = "WEBHOOK_INIT_CONTAINER_"
	v1PullPolicyVariable = "WEBHOOK_CONTAINER_IMAGE_PULL_POLICY"
)

// v1Variables reads the environment variables of v1.
type v1Variables struct {
	lookup   func(string) (string, bool)
	warnings []string
	err      error
}

func (o *v1Variables) valueOf(name string) string {
	value, _ := o.lookup(name)
	return value
}

// boolOf returns a boolean variable; nil if it is not set.
func (o *v1Variables) boolOf(name string) *bool {
	text := o.valueOf(v1SecurityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be true or false", v1SecurityPrefix+name))
	}
	return &value
}

// numberOf returns a number that is not negative; nil if the variable is not set.
func (o *v1Variables) numberOf(name string) *int64 {
	text := o.valueOf(v1SecurityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be a number", v1SecurityPrefix+name))
	}
	return &value
}

func (o *v1Variables) addQuantity(name string, kind corev1.ResourceName, into *corev1.ResourceList) {
	text := o.valueOf(v1ResourcesPrefix + name)
	if text == "" {
		return
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		o.err = errors.Join(o.err, fmt.Errorf("%s must be a quantity such as 10m or 64Mi", v1ResourcesPrefix+name))
	}
	if *into == nil {
		*into = corev1.ResourceList{}
	}
	if _, set := (*into)[kind]; !set {
		(*into)[kind] = quantity
	}
}

// warnIfForbidden adds a warning if a variable requests what the restricted Pod Security Standard forbids.
func (o *v1Variables) warnIfForbidden(name string, forbidden bool) {
	if value := o.boolOf(name); value != nil && *value == forbidden {
		o.warnings = append(o.warnings,
			fmt.Sprintf("%s=%t is ignored: the init container always passes the restricted Pod Security Standard",
				v1SecurityPrefix+name, forbidden))
	}
}

// mergeV1Variables merges the chart value with the v1 variables, which fill the fields that the value does not set. It
// returns the warnings about ignored variables.
func (i initContainerValue) mergeV1Variables(lookup func(string) (string, bool)) (inject.InitContainerSettings,
	[]string, error) {
	o := &v1Variables{lookup: lookup}
	security, out := i.SecurityContext, inject.InitContainerSettings{Resources: *i.Resources.DeepCopy()}
	o.addQuantity("REQUESTS_CPU", corev1.ResourceCPU, &out.Resources.Requests)
	o.addQuantity("REQUESTS_MEMORY", corev1.ResourceMemory, &out.Resources.Requests)
	o.addQuantity("LIMITS_MEMORY", corev1.ResourceMemory, &out.Resources.Limits)
	o.warnIfForbidden("PRIVILEGED", true)
	o.warnIfForbidden("ALLOW_PRIVILEGE_ESCALATION", true)
	o.warnIfForbidden("NON_ROOT", false)
	o.warnIfForbidden("SECCOMP_RUNTIME_DEFAULT", false)
	user, group, readOnly := o.numberOf("USER_UID"), o.numberOf("GROUP_GID"), o.boolOf("READ_ONLY")
	if user != nil && *user == 0 {
		o.warnings = append(o.warnings, v1SecurityPrefix+"USER_UID=0 is ignored: the init container never runs as root")
	}
	user, out.RunAsGroup, readOnly = firstSet(security.RunAsUser, user), firstSet(security.RunAsGroup, group),
		firstSet(security.ReadOnlyRootFilesystem, readOnly)
	if user != nil {
		out.RunAsUser = *user
	}
	out.WritableRoot = readOnly != nil && !*readOnly
	return out, o.warnings, o.err
}

// firstSet returns a if it is set, else b.
func firstSet[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// initContainerPullPolicy returns the pull policy of the init container. The v1 variable overrides the flag, which
// always has a value.
func (s settings) initContainerPullPolicy() (corev1.PullPolicy, error) {
	text, _ := s.Environment.Lookup(v1PullPolicyVariable)
	if text == "" {
		text = s.pullPolicy
	}
	switch policy := corev1.PullPolicy(text); policy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return policy, nil
	}
	return "", fmt.Errorf("the pull policy of the init container is %q; use Always, IfNotPresent or Never in the "+
		"value env_injector.envImage.pullPolicy, and remove %s", text, v1PullPolicyVariable)
}
