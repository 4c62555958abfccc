package envinjector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
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

// injectSettings returns the value as the webhook's Settings.
func (i initContainerValue) injectSettings() initcontainer.Settings {
	security := i.SecurityContext
	out := initcontainer.Settings{Resources: i.Resources, RunAsGroup: security.RunAsGroup}
	if security.RunAsUser != nil {
		out.RunAsUser = *security.RunAsUser
	}
	out.WritableRoot = security.ReadOnlyRootFilesystem != nil && !*security.ReadOnlyRootFilesystem
	return out
}

// initContainerPullPolicy returns the pull policy of the init container. The v1 variable overrides the flag, which
// always has a value.
func (s Settings) initContainerPullPolicy() (corev1.PullPolicy, error) {
	text := v1PullPolicy(s.Environment.Lookup)
	if text == "" {
		text = s.pullPolicy
	}
	switch policy := corev1.PullPolicy(text); policy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
		return policy, nil
	}
	return "", fmt.Errorf("the pull policy of the init container is %q; use Always, IfNotPresent or Never in the "+
		"value env_injector.envImage.pullPolicy%s", text, v1PullPolicyHint)
}
