package initcontainer

import (
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PullPolicyVariable is the variable with the pull policy of the init container's image.
const PullPolicyVariable = "WEBHOOK_CONTAINER_IMAGE_PULL_POLICY"

// Prefixes of the other variables.
const (
	securityPrefix  = "WEBHOOK_CONTAINER_SECURITY_CONTEXT_"
	resourcesPrefix = "WEBHOOK_INIT_CONTAINER_"
)

// Settings are the settings in the variables. Fields are nil or empty if the variable is not set.
type Settings struct {
	Resources              corev1.ResourceRequirements
	RunAsUser, RunAsGroup  *int64
	ReadOnlyRootFilesystem *bool
	// Warnings name the variables that are ignored, with the reason.
	Warnings []string
}

// Read reads the variables. The error names each variable that is invalid.
func Read(lookup func(string) (string, bool)) (Settings, error) {
	r := &reader{lookup: lookup}
	r.Resources.Requests = r.quantities(map[corev1.ResourceName]string{
		corev1.ResourceCPU: "REQUESTS_CPU", corev1.ResourceMemory: "REQUESTS_MEMORY"})
	r.Resources.Limits = r.quantities(map[corev1.ResourceName]string{corev1.ResourceMemory: "LIMITS_MEMORY"})
	r.warnIfForbidden("PRIVILEGED", true)
	r.warnIfForbidden("ALLOW_PRIVILEGE_ESCALATION", true)
	r.warnIfForbidden("NON_ROOT", false)
	r.warnIfForbidden("SECCOMP_RUNTIME_DEFAULT", false)
	r.RunAsUser, r.RunAsGroup = r.numberOf("USER_UID"), r.numberOf("GROUP_GID")
	r.ReadOnlyRootFilesystem = r.boolOf("READ_ONLY")
	if r.RunAsUser != nil && *r.RunAsUser == 0 {
		r.RunAsUser = nil
		r.Warnings = append(r.Warnings, securityPrefix+"USER_UID=0 is ignored: the init container never runs as root")
	}
	return r.Settings, r.err
}

// AddResources adds the requests and limits that into does not have.
func (s Settings) AddResources(into *corev1.ResourceRequirements) {
	addQuantities(&into.Requests, s.Resources.Requests)
	addQuantities(&into.Limits, s.Resources.Limits)
}

func addQuantities(into *corev1.ResourceList, more corev1.ResourceList) {
	for name, quantity := range more {
		if *into == nil {
			*into = corev1.ResourceList{}
		}
		if _, set := (*into)[name]; !set {
			(*into)[name] = quantity
		}
	}
}

// reader collects the settings, and the errors of all variables.
type reader struct {
	Settings
	lookup func(string) (string, bool)
	err    error
}

func (r *reader) valueOf(name string) string {
	value, _ := r.lookup(name)
	return value
}

// boolOf returns a boolean variable; nil if it is not set.
func (r *reader) boolOf(name string) *bool {
	text := r.valueOf(securityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("%s must be true or false", securityPrefix+name))
	}
	return &value
}

// numberOf returns a number that is not negative; nil if the variable is not set.
func (r *reader) numberOf(name string) *int64 {
	text := r.valueOf(securityPrefix + name)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		r.err = errors.Join(r.err, fmt.Errorf("%s must be a number", securityPrefix+name))
	}
	return &value
}

// quantities returns the quantities of the variables that are set; nil if there are none.
func (r *reader) quantities(names map[corev1.ResourceName]string) corev1.ResourceList {
	var list corev1.ResourceList
	for kind, name := range names {
		text := r.valueOf(resourcesPrefix + name)
		if text == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(text)
		if err != nil {
			r.err = errors.Join(r.err, fmt.Errorf("%s must be a quantity such as 10m or 64Mi", resourcesPrefix+name))
		}
		addQuantities(&list, corev1.ResourceList{kind: quantity})
	}
	return list
}

// warnIfForbidden adds a warning if a variable requests what the restricted Pod Security Standard forbids.
func (r *reader) warnIfForbidden(name string, forbidden bool) {
	if value := r.boolOf(name); value != nil && *value == forbidden {
		r.Warnings = append(r.Warnings,
			fmt.Sprintf("%s=%t is ignored: the init container always passes the restricted Pod Security Standard",
				securityPrefix+name, forbidden))
	}
}
