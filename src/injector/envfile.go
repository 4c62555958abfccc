package injector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// adviceOtherDelivery is the next step if a value can't be in an env file.
const adviceOtherDelivery = "change the annotation " + wire.AnnotationDelivery + " of the pod to auto, or let the " +
	"controller sync a Kubernetes Secret (spec.output.secret) and use that"

// runEnvFileContainer is the work of the init container of a pod whose values the kubelet sets: it writes the values of
// each container into an env file in the folder.
func (p Program) runEnvFileContainer(ctx context.Context, folder string) int {
	limitRuntimeMemory()
	c := p.injectorConfig()
	files, err := c.resolveEnvFiles(ctx)
	if err != nil {
		return c.reportFailure(err)
	}
	files[wire.CheckEnvFilePath] = []byte(wire.EnvFileCheck + "='true'\n")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// The kubelet reads the file as root. Containers don't mount the volume.
		if err := os.WriteFile(filepath.Join(folder, name), files[name], 0o600); err != nil {
			c.WriteTerminationMessage(err.Error())
			return p.reportCommandError(fmt.Errorf("writing an env file: %w", err))
		}
	}
	return 0
}

// resolveEnvFiles resolves the references that the webhook recorded, and returns the content of each container's env
// file by file name.
func (c Config) resolveEnvFiles(ctx context.Context) (map[string][]byte, error) {
	var record map[string]string
	if json.Unmarshal([]byte(valueOf(c.Environ, wire.EnvReferences)), &record) != nil {
		return nil, fault.New(fault.Invalid,
			"%s is not a JSON object; recreate the pod so that the env-injector sets it", wire.EnvReferences)
	}
	containers := map[string]map[string]string{}
	for key, reference := range record {
		container, _, ok := strings.Cut(key, "/")
		if !ok || container == "" || strings.HasPrefix(container, ".") {
			return nil, fault.New(fault.Invalid, "%s has an entry without a container; recreate the pod so that the "+
				"env-injector sets it", wire.EnvReferences)
		}
		if containers[container] == nil {
			containers[container] = map[string]string{}
		}
		containers[container][key] = reference
	}
	files := map[string][]byte{}
	for _, container := range slices.Sorted(maps.Keys(containers)) {
		// One request for each container: the limits of a request are those of a container's variables.
		values, err := c.resolveReferences(ctx, containers[container], initContainerMaxWait)
		if err != nil {
			return nil, err
		}
		if files[container+wire.SuffixEnvFile], err = encodeEnvFile(container, values); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// encodeEnvFile returns the env file with these values, by "CONTAINER/VARIABLE". The error is of kind fault.Invalid,
// for a value that the kubelet would not read unchanged.
func encodeEnvFile(container string, values map[string][]byte) ([]byte, error) {
	var file bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(values)) {
		variable := strings.TrimPrefix(key, container+"/")
		if problem := envFileProblem(values[key]); problem != "" {
			return nil, fault.New(fault.Invalid,
				"container %q, variable %s: the value %s, which an env file can't hold; %s", container, variable,
				problem, adviceOtherDelivery)
		}
		fmt.Fprintf(&file, "%s='%s'\n", variable, values[key])
	}
	if file.Len() > limits.EnvFileBytes {
		return nil, fault.New(fault.Invalid,
			"the values of container %q have %d bytes, and an env file can have %s; %s", container, file.Len(),
			limits.Bytes(limits.EnvFileBytes), adviceOtherDelivery)
	}
	return file.Bytes(), nil
}

// envFileProblem says why the kubelet would not read a value unchanged, empty if it would. Kubernetes counts an empty
// value as missing, drops a carriage return before a newline, and ends a value at a single quote.
func envFileProblem(value []byte) string {
	switch {
	case len(value) == 0:
		return "is empty"
	case len(value) > limits.EnvFileValueBytes:
		return fmt.Sprintf("has %d bytes (limit: %s)", len(value), limits.Bytes(limits.EnvFileValueBytes))
	case bytes.IndexByte(value, '\'') >= 0:
		return "has a single quote"
	case bytes.IndexByte(value, '\r') >= 0:
		return "has a carriage return"
	case bytes.IndexByte(value, 0) >= 0:
		return "has a NUL byte"
	case !utf8.Valid(value):
		return "is not UTF-8"
	}
	return ""
}

// runEnvFileCheck is the work of the second init container of such a pod. It ends with an error if the kubelet of this
// node ignored an env file, because it would start the containers without their values.
func (p Program) runEnvFileCheck() int {
	if valueOf(p.Environ, wire.EnvFileCheck) == "true" {
		return 0
	}
	return p.injectorConfig().reportFailure(fault.New(fault.Invalid,
		"the kubelet of this node ignores env files (fileKeyRef), so the containers would start without their values; "+
			"env files need a kubelet of version 1.35 or later with the feature gate EnvFiles; change the annotation "+
			"%s of the pod to auto, or run it on other nodes", wire.AnnotationDelivery))
}
