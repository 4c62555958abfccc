package pki

import (
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig for the identity whose certificate is File.crt in folder, with everything
// embedded.
func WriteKubeconfig(path, server, folder, file string) error {
	read := map[string][]byte{}
	for _, name := range []string{"ca.crt", file + ".crt", file + ".key"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		read[name] = content
	}
	config := api.NewConfig()
	config.Clusters["akv2k8s"] = &api.Cluster{Server: server, CertificateAuthorityData: read["ca.crt"]}
	config.AuthInfos[file] = &api.AuthInfo{ClientCertificateData: read[file+".crt"], ClientKeyData: read[file+".key"]}
	config.Contexts["akv2k8s"] = &api.Context{Cluster: "akv2k8s", AuthInfo: file}
	config.CurrentContext = "akv2k8s"
	return clientcmd.WriteToFile(*config, path)
}
