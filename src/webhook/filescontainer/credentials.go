package filescontainer

import (
	"path"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// isCredentialVariable reports whether a variable of a container decides with which identity it reads vaults. All
// variables of Azure count, also those of its SDK that credential does not list.
func isCredentialVariable(name string) bool {
	return strings.HasPrefix(name, "AZURE_") || name == wire.EnvAuthType
}

// credentialEnv are the variables of a container that decide with which identity it reads vaults.
func credentialEnv(c corev1.Container) []corev1.EnvVar {
	return slices.DeleteFunc(slices.Clone(c.Env), func(v corev1.EnvVar) bool { return !isCredentialVariable(v.Name) })
}

// differentCredential returns the name of a credential variable that two containers set differently, empty if there is
// none.
func differentCredential(a, b corev1.Container) string {
	values := map[string]corev1.EnvVar{}
	for _, variable := range credentialEnv(a) {
		values[variable.Name] = variable
	}
	for _, variable := range credentialEnv(b) {
		if !reflect.DeepEqual(values[variable.Name], variable) {
			return variable.Name
		}
		delete(values, variable.Name)
	}
	for name := range values {
		return name
	}
	return ""
}

// credentialMounts are the mounts of a container that hold the files of its credentials.
func credentialMounts(c corev1.Container) (mounts []corev1.VolumeMount) {
	files := []string{wire.CloudConfigPath}
	for _, variable := range credentialEnv(c) {
		if strings.HasPrefix(variable.Value, "/") {
			files = append(files, path.Clean(variable.Value))
		}
	}
	for _, mount := range c.VolumeMounts {
		directory := path.Clean(mount.MountPath)
		if slices.ContainsFunc(files, func(file string) bool {
			return file == directory || strings.HasPrefix(file, directory+"/")
		}) {
			mount.ReadOnly = true
			mounts = append(mounts, mount)
		}
	}
	return mounts
}
