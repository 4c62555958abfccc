// Package podfiles parses and checks the annotations of a pod that request files with values, and plans the directories
// that hold them.
//
// Floor 2, pure. The mutation of the pod belongs in webhook/inject. How a directory is written belongs in
// injector/atomicdir, and the formats of files in recipe/fileformat.
//
// The annotation akv2k8s.io/files is for all containers. akv2k8s.io/files.CONTAINER adds to it, or overrides paths of
// it, for one container whose name has at most 57 characters, because the name of an annotation has at most 63. Both
// are YAML or JSON:
//
//	/etc/app/password: db@azurekeyvault             # one value
//	/etc/app/tls/: web@azurekeyvault                # a folder with a file for each data key
//	/etc/app/settings.json: {from: app@azurekeyvault, format: json, mode: "0440"}
//	/etc/app/web.pfx: {from: web@azurekeyvault, format: pfx, password: pfx-password@azurekeyvault}
//
// Files change together if they are in one mounted directory. A mounted directory hides what the image has there, so a
// file can't be in a directory that images need, such as /etc.
package podfiles
