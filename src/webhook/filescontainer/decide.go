package filescontainer

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/webhook/initcontainer"
	"github.com/akv2k8s/akv2k8s/src/webhook/inject"
	"github.com/akv2k8s/akv2k8s/src/webhook/podfiles"
	"github.com/akv2k8s/akv2k8s/src/webhook/podos"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Plan is the decision about the files of a pod, and the input of Add.
type Plan struct {
	// Warnings are sentences for the user who creates the pod.
	Warnings []string

	files podfiles.Plan
	// record is the wire.PodFiles as JSON.
	record string
	// once says that the files are written once, by an init container.
	once bool
	// isDirect says that the files are read with the credentials of the container named credentials.
	isDirect    bool
	credentials string
}

// IsEmpty reports whether the pod requests no files.
func (p Plan) IsEmpty() bool { return p.files.IsEmpty() }

// Containers are the names of the containers that get files, in the order of the pod.
func (p Plan) Containers(pod *corev1.Pod) (names []string) {
	for _, c := range containersOf(pod) {
		if len(p.files.Mounts[c.Name]) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// Decide makes the plan for a new pod without our own container, see Remove. direct says that the installation has no
// auth service. The error is of kind fault.Invalid. It names the annotation or container and the next step, and never
// holds a value.
func Decide(pod *corev1.Pod, direct bool) (Plan, error) {
	if inject.IsExcluded(pod) {
		return Plan{}, nil
	}
	if !podfiles.IsRequested(pod.Annotations) {
		return Plan{Warnings: unusedAnnotations(pod)}, nil
	}
	var p Plan
	var err error
	containers := containersOf(pod)
	if p.files, err = podfiles.Parse(pod.Annotations, namesOf(containers)); err != nil {
		return Plan{}, err
	}
	if p.files.IsEmpty() {
		return Plan{Warnings: unusedAnnotations(pod)}, nil
	}
	for _, check := range []func(*corev1.Pod) error{p.checkPod, p.checkMounts, p.setSettings} {
		if err := check(pod); err != nil {
			return Plan{}, err
		}
	}
	if err := p.chooseCredentials(pod, direct); err != nil {
		return Plan{}, err
	}
	p.addModeWarnings(pod)
	if inject.HasMeshProxy(pod) {
		p.Warnings = append(p.Warnings, "the container "+wire.FilesContainer+" requests files before the proxy of the "+
			"service mesh starts; if the mesh redirects its traffic, exclude the auth service from that")
	}
	return p, nil
}

// containersOf are the containers of a pod that can have files, init containers first.
func containersOf(pod *corev1.Pod) []corev1.Container {
	return slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
}

func namesOf(containers []corev1.Container) (names []string) {
	for _, c := range containers {
		names = append(names, c.Name)
	}
	return names
}

// unusedAnnotations warns of settings for files in a pod without files.
func unusedAnnotations(pod *corev1.Pod) (warnings []string) {
	for _, name := range []string{wire.AnnotationRefreshInterval, wire.AnnotationOnChange} {
		if _, ok := pod.Annotations[name]; ok {
			warnings = append(warnings, "the annotation "+name+" has no effect, because the pod has no files; add "+
				wire.AnnotationFiles)
		}
	}
	return warnings
}

func invalidError(next, format string, args ...any) error {
	return fault.NewWithNextStep(fault.Invalid, next, format, args...)
}

// checkPod rejects pods that can't have files, and those that use reserved names.
func (p *Plan) checkPod(pod *corev1.Pod) error {
	if reason := podos.WindowsReason(pod); reason != "" {
		return invalidError("let the controller write a Kubernetes Secret (spec.output.secret) and mount that",
			"the pod is for Windows (%s), which the annotation %s does not support", reason, wire.AnnotationFiles)
	}
	for _, c := range containersOf(pod) {
		if isReservedContainer(c.Name) {
			return invalidError("rename the pod's own container",
				"the container name %s is reserved for the env-injector", c.Name)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == wire.VolumeFiles || inject.IsForeignVolume(volume) {
			return invalidError("rename the pod's own volume", "the volume name %s is reserved for the env-injector",
				volume.Name)
		}
	}
	return nil
}

// checkMounts checks the directories of files against the other mounts of their containers.
func (p *Plan) checkMounts(pod *corev1.Pod) error {
	for _, c := range containersOf(pod) {
		if err := p.files.CheckMounts(c.Name, c.VolumeMounts); err != nil {
			return err
		}
	}
	return nil
}

// setSettings reads the other annotations and makes the record.
func (p *Plan) setSettings(pod *corev1.Pod) error {
	record := wire.PodFiles{Directories: map[string][]wire.FileEntry{}}
	if text, ok := pod.Annotations[wire.AnnotationRefreshInterval]; ok {
		interval, err := parseRefreshInterval(text)
		if err != nil {
			return err
		}
		seconds := int64(interval / time.Second)
		record.RefreshSeconds, p.once = &seconds, seconds == 0
	}
	if text, ok := pod.Annotations[wire.AnnotationOnChange]; ok {
		if err := checkOnChange(text); err != nil {
			return err
		}
		if record.OnChange = text; p.once {
			return invalidError("remove one of the two",
				"the annotation %s needs files that are read again, and %s is 0", wire.AnnotationOnChange,
				wire.AnnotationRefreshInterval)
		}
	}
	for _, directory := range p.files.Directories {
		for _, entry := range directory.Entries {
			record.Directories[directory.Name] = append(record.Directories[directory.Name], recordedEntry(entry))
		}
	}
	content, err := json.Marshal(record)
	if err != nil {
		return fault.Wrap(fault.Bug, err, "encoding the files of a pod")
	}
	p.record = inject.EscapeDollars(string(content))
	if len(p.record) > limits.FilesRecordBytes {
		return invalidError("use folders or formats in place of many files, or shorter names",
			"the annotation %s: the files of the pod have %d bytes as JSON, and the limit is %s", wire.AnnotationFiles,
			len(p.record), limits.Bytes(limits.FilesRecordBytes))
	}
	return nil
}

// recordedEntry is an entry as the broker reads it.
func recordedEntry(e podfiles.Entry) wire.FileEntry {
	entry := wire.FileEntry{Path: e.Path, IsFolder: e.IsFolder, Reference: e.Reference.String(), Mode: uint32(e.Mode)}
	if e.Format != fileformat.Raw {
		entry.Format = string(e.Format)
	}
	if e.Password != nil {
		entry.PasswordReference = e.Password.String()
	}
	return entry
}

// parseRefreshInterval parses the annotation wire.AnnotationRefreshInterval.
func parseRefreshInterval(text string) (time.Duration, error) {
	interval, err := time.ParseDuration(strings.TrimSpace(text))
	switch {
	case err != nil:
		return 0, invalidError(`write for example "5m", or "0" for files that are written once`,
			"the annotation %s is not a duration", wire.AnnotationRefreshInterval)
	case interval != 0 && (interval < limits.FilesRefreshMin || interval > limits.FilesRefreshMax):
		return 0, invalidError(`use "0" for files that are written once`, "the annotation %s is not between %s and %s",
			wire.AnnotationRefreshInterval, limits.Duration(limits.FilesRefreshMin),
			limits.Duration(limits.FilesRefreshMax))
	}
	return interval, nil
}

// loopbackHosts are the hosts that the annotation wire.AnnotationOnChange can have.
func loopbackHosts() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// checkOnChange checks the annotation wire.AnnotationOnChange. The pod can call only itself. The files container checks
// the URL again, because a user can write its record without the webhook.
func checkOnChange(text string) error {
	problem, next := "", "write for example http://localhost:8080/reload"
	parsed, err := url.Parse(text)
	switch {
	case len(text) > limits.OnChangeURLBytes:
		problem = "has more than " + limits.Bytes(limits.OnChangeURLBytes)
	case err != nil || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		problem = "is not a URL"
	case parsed.Scheme != "http":
		problem = "is not a URL with http"
	case parsed.User != nil:
		problem = "has a user name"
	case !slices.Contains(loopbackHosts(), parsed.Hostname()):
		problem = "is on another host than localhost"
	case !isPort(parsed.Port()):
		problem = "has no port"
	default:
		return nil
	}
	return invalidError(next, "the annotation %s %s", wire.AnnotationOnChange, problem)
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// othersRead are the mode bits with which users other than the owner can read a file.
const othersRead fs.FileMode = 0o044

// addModeWarnings warns of files that the users of their containers can't read.
func (p *Plan) addModeWarnings(pod *corev1.Pod) {
	private := map[string]bool{}
	for _, directory := range p.files.Directories {
		for _, entry := range directory.Entries {
			private[directory.Name] = private[directory.Name] || entry.Mode&othersRead == 0
		}
	}
	users := map[int64]bool{}
	for _, c := range containersOf(pod) {
		for _, mount := range p.files.Mounts[c.Name] {
			if private[mount.Directory] {
				users[initcontainer.RunAsUser(pod, c)] = true
			}
		}
	}
	if len(users) > 1 || users[0] {
		p.Warnings = append(p.Warnings, "files that only their owner can read belong to the user of the container "+
			wire.FilesContainer+", which is not that of each container with such files; set the same runAsUser for "+
			"all containers, or use fsGroup and the mode 0440")
	}
}

// chooseCredentials decides whether the auth service reads the values, or the files container with the credentials of
// another container. All containers with files must agree, because one container writes all files.
func (p *Plan) chooseCredentials(pod *corev1.Pod, direct bool) error {
	var first *corev1.Container
	for _, c := range containersOf(pod) {
		if len(p.files.Mounts[c.Name]) == 0 {
			continue
		}
		isDirect := inject.Settings{Direct: direct}.IsDirect(c)
		if first == nil {
			first, p.isDirect, p.credentials = &c, isDirect, c.Name
			continue
		}
		if isDirect != p.isDirect {
			return invalidError("give files to containers of one kind, by "+wire.AnnotationContainerFiles+"CONTAINER",
				"containers %q and %q have files, and only one of them uses the auth service", first.Name,
				inject.PrintableName(c.Name))
		}
		if name := differentCredential(*first, c); p.isDirect && name != "" {
			return invalidError("use the same credentials in both",
				"containers %q and %q have files, and different values of %s", first.Name, inject.PrintableName(c.Name),
				name)
		}
	}
	return nil
}
