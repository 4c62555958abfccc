package resolver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/akv2k8s/akv2k8s/src/certificate/keystore"
	"github.com/akv2k8s/akv2k8s/src/decodepool"
	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/keyvault"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/recipe"
	"github.com/akv2k8s/akv2k8s/src/recipe/decode"
	"github.com/akv2k8s/akv2k8s/src/recipe/fileformat"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Files are the files of a pod.
type Files struct {
	// Directories by name, each with its files by slash-separated relative path. Files can share their bytes, so
	// callers must not change them.
	Directories map[string]map[string]File
	// RefreshInterval is the shortest refresh interval of the resources; 0 if all of them are read only once.
	RefreshInterval time.Duration
}

// File is one file.
type File struct {
	Content []byte
	// Mode has the permission bits.
	Mode fs.FileMode
}

// RefreshAfter is the time until the pod should read its files again, from limits.FilesRefreshMin to
// limits.FilesRefreshMax, or 0 for never: the interval of the pod, or that of its resources.
func (f Files) RefreshAfter(wanted wire.PodFiles) time.Duration {
	interval := f.RefreshInterval
	if wanted.RefreshSeconds != nil {
		interval = time.Duration(min(*wanted.RefreshSeconds, int64(limits.FilesRefreshMax/time.Second))) * time.Second
	}
	if interval <= 0 {
		return 0
	}
	return min(max(interval, limits.FilesRefreshMin), limits.FilesRefreshMax)
}

// Hash is a keyed hash of the names, modes and contents of all files.
func (f Files) Hash(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, directory := range slices.Sorted(maps.Keys(f.Directories)) {
		entries := f.Directories[directory]
		writeField(mac, []byte(directory))
		writeField(mac, binary.BigEndian.AppendUint64(nil, uint64(len(entries))))
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			writeField(mac, []byte(name))
			writeField(mac, binary.BigEndian.AppendUint32(nil, uint32(entries[name].Mode)))
			writeField(mac, entries[name].Content)
		}
	}
	return mac.Sum(nil)
}

// writeField hashes a text with its length, so that no two lists of texts are the same bytes.
func writeField(mac hash.Hash, content []byte) {
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(content))))
	mac.Write(content)
}

// ResolveFiles returns all files, or the error of the first one by directory and path. Each resource and each vault
// object is read once, so all files have the same version of an object. defaultInterval is the refresh interval of
// resources without one of their own.
func (r Resolver) ResolveFiles(ctx context.Context, wanted wire.PodFiles,
	defaultInterval time.Duration) (Files, error) {
	w := &fileResolution{Resolver: r, resolution: newResolution(),
		files: Files{Directories: map[string]map[string]File{}}}
	if err := w.parseEntries(wanted); err != nil {
		return Files{}, err
	}
	r.readResources(ctx, w.resolution)
	for _, entry := range w.entries {
		if err := w.planEntry(entry); err != nil {
			return Files{}, entry.explainError(err)
		}
	}
	r.readObjects(ctx, w.resolution)
	for _, entry := range w.entries {
		if err := w.resolveEntry(ctx, entry); err != nil {
			return Files{}, entry.explainError(err)
		}
	}
	for _, found := range w.resources {
		interval := found.recipe.RefreshIntervalOr(defaultInterval)
		if !found.recipe.IsReadOnce() && (w.files.RefreshInterval == 0 || interval < w.files.RefreshInterval) {
			w.files.RefreshInterval = interval
		}
	}
	return w.files, nil
}

// fileResolution is the state of one request for files.
type fileResolution struct {
	Resolver
	*resolution
	entries []*pendingEntry
	files   Files
	// count and bytes are those of the files so far.
	count, bytes int
}

// pendingEntry is an entry of a directory.
type pendingEntry struct {
	wire.FileEntry
	directory string
	// reference is the entry's own. Its query and object are not used if the entry has all data keys.
	reference *pendingReference
	// items and objects are those of an entry that has all data keys.
	items   []recipe.Item
	objects []*objectResult
	// password is nil if the format has none.
	password *pendingReference
}

// format is the format of the entry's file.
func (e *pendingEntry) format() fileformat.Format {
	if e.Format == "" {
		return fileformat.Raw
	}
	return fileformat.Format(e.Format)
}

// hasAllKeys reports whether the entry has all data keys of its resource.
func (e *pendingEntry) hasAllKeys() bool { return e.IsFolder || e.format().HoldsAllKeys() }

// name names the entry in messages.
func (e *pendingEntry) name() string {
	if e.IsFolder && e.Path == "." {
		return "folder"
	}
	kind := "file"
	if e.IsFolder {
		kind = "folder"
	}
	return fmt.Sprintf("%s %q", kind, shortenName(e.Path))
}

func (e *pendingEntry) explainError(err error) error {
	return e.reference.explainErrorOf(e.name(), err)
}

// parseEntries parses the entries, sorted by directory, and collects their resources.
func (w *fileResolution) parseEntries(wanted wire.PodFiles) error {
	for _, directory := range slices.Sorted(maps.Keys(wanted.Directories)) {
		w.files.Directories[directory] = map[string]File{}
		for _, entry := range wanted.Directories[directory] {
			if len(w.entries) == limits.PodFiles || len(w.files.Directories) > limits.PodFileDirectories {
				return fault.New(fault.Invalid, "the pod has more than %d files or %d directories with files",
					limits.PodFiles, limits.PodFileDirectories)
			}
			e := &pendingEntry{FileEntry: entry, directory: directory}
			if !slices.Contains(fileformat.Formats(), e.format()) {
				return fault.New(fault.Invalid, "%s has an unknown format; recreate the pod", e.name())
			}
			var err error
			if e.reference, err = w.addReference(e.name(), entry.Reference); err != nil {
				return err
			}
			if e.format().NeedsPassword() {
				if e.password, err = w.addReference("password of "+e.name(), entry.PasswordReference); err != nil {
					return err
				}
			}
			w.entries = append(w.entries, e)
		}
	}
	return nil
}

// planEntry finds the vault objects of an entry.
func (w *fileResolution) planEntry(e *pendingEntry) error {
	found := w.resources[e.reference.ref.Name]
	if found.err != nil {
		return found.err
	}
	if e.hasAllKeys() {
		if e.reference.ref.Query != "" {
			return fault.NewWithNextStep(fault.Invalid, "remove the question mark and what follows it",
				"a folder, and a file of format %s, has all data keys of a resource", e.format())
		}
		for _, item := range found.recipe.Items {
			e.items = append(e.items, item)
			e.objects = append(e.objects, w.requireObject(e.reference.ref.Name, item,
				decode.NeedsPrivateKeyForFolder(found.recipe, item)))
		}
		return nil
	}
	if err := w.planObject(e.reference); err != nil {
		return err
	}
	if e.password == nil {
		return nil
	}
	w.requireObject(e.reference.ref.Name, e.reference.query.Item, true)
	if err := w.planObject(e.password); err != nil {
		return e.password.explainErrorOf("its password", err)
	}
	return nil
}

// resolveEntry adds the files of an entry.
func (w *fileResolution) resolveEntry(ctx context.Context, e *pendingEntry) error {
	if err := checkNotEnded(ctx); err != nil {
		return err
	}
	values, err := w.valuesOf(ctx, e)
	if err != nil {
		return err
	}
	if e.IsFolder {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if err := w.addFile(e, path.Join(e.Path, key), values[key]); err != nil {
				return err
			}
		}
		return nil
	}
	if e.format().NeedsPassword() { // encoded already
		return w.addFile(e, e.Path, values[""])
	}
	content, err := fileformat.Encode(e.format(), values)
	if err != nil {
		return err
	}
	return w.addFile(e, e.Path, content)
}

// addFile adds one file and counts its bytes.
func (w *fileResolution) addFile(e *pendingEntry, name string, content []byte) error {
	w.count, w.bytes = w.count+1, w.bytes+len(content)
	if w.count > limits.FilesInAnswer || w.bytes > limits.FilesBytes {
		return fault.NewWithNextStep(fault.Invalid, "use fewer or smaller values, or spread them over several pods",
			"the pod has more than %s files, or files with more than %s", limits.Count(limits.FilesInAnswer),
			limits.Bytes(limits.FilesBytes))
	}
	if w.ReserveBytes != nil {
		if err := w.ReserveBytes(len(content)); err != nil {
			return err
		}
	}
	w.files.Directories[e.directory][name] = File{Content: content, Mode: fs.FileMode(e.Mode) & fs.ModePerm}
	return nil
}

// decodeJob is one decode whose result is cached.
type decodeJob struct {
	// kind, parameter and objects are the key of the result.
	kind      string
	parameter any
	objects   []keyvault.Object
	run       func(context.Context) (map[string]keyvault.Value, error)
}

// valuesOf returns the values of an entry by data key; those of an entry with one value have an empty key.
func (w *fileResolution) valuesOf(ctx context.Context, e *pendingEntry) (map[string][]byte, error) {
	newJob := w.valueJob
	switch {
	case e.hasAllKeys():
		newJob = w.folderJob
	case e.password != nil:
		if err := w.decodeReference(ctx, e.password, w.ReserveBytes); err != nil {
			return nil, e.password.explainErrorOf("its password", err)
		}
		newJob = w.keystoreJob
	}
	job, err := newJob(e)
	if err != nil {
		return nil, err
	}
	share := w.decodeShare()
	decoded, err := share.Do(ctx, share.CacheKey(job.kind, job.parameter, job.objects...),
		func(ctx context.Context) (decodepool.Output, error) {
			values, err := job.run(ctx)
			return decodepool.Output{Values: values}, err
		})
	values := make(map[string][]byte, len(decoded.Values))
	for key, value := range decoded.Values {
		values[key] = value.Reveal()
	}
	return values, err
}

// valueJob decodes the only value of an entry.
func (w *fileResolution) valueJob(e *pendingEntry) (decodeJob, error) {
	q, object := e.reference.query, e.reference.object
	return decodeJob{kind: "file", parameter: q, objects: []keyvault.Object{object.vaultObject},
		run: func(context.Context) (map[string]keyvault.Value, error) {
			value, err := decode.FileValue(q, object.vaultObject)
			return map[string]keyvault.Value{"": value}, err
		}}, object.err
}

// folderJob decodes all data keys of an entry.
func (w *fileResolution) folderJob(e *pendingEntry) (decodeJob, error) {
	r := w.resources[e.reference.ref.Name].recipe
	job := decodeJob{kind: "folder", parameter: r}
	contents := make([]decode.FetchedItem, 0, len(e.items))
	for i, item := range e.items {
		if err := e.objects[i].err; err != nil {
			return job, err
		}
		job.objects = append(job.objects, e.objects[i].vaultObject)
		contents = append(contents, decode.FetchedItem{Item: item, Object: e.objects[i].vaultObject})
	}
	job.run = func(ctx context.Context) (map[string]keyvault.Value, error) {
		return decode.FolderData(ctx, r, contents)
	}
	return job, nil
}

// keystoreJob encodes a certificate and its private key with a password.
func (w *fileResolution) keystoreJob(e *pendingEntry) (decodeJob, error) {
	q, object, password := e.reference.query, e.reference.object, e.password.value
	return decodeJob{kind: "keystore " + string(e.format()), parameter: q,
		objects: []keyvault.Object{object.vaultObject, {Value: keyvault.NewValue(password)}},
		run: func(context.Context) (map[string]keyvault.Value, error) {
			bundle, err := decode.CertificateWithKey(q, object.vaultObject)
			if err != nil {
				return nil, err
			}
			content, err := keystore.Encode(e.format(), bundle, password)
			return map[string]keyvault.Value{"": keyvault.NewValue(content)}, err
		}}, object.err
}
