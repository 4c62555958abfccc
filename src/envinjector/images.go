package envinjector

import (
	"time"

	"github.com/go-logr/logr"

	"github.com/akv2k8s/akv2k8s/src/apiserver"
	"github.com/akv2k8s/akv2k8s/src/program"
	"github.com/akv2k8s/akv2k8s/src/trust"
	"github.com/akv2k8s/akv2k8s/src/webhook/ociimage"
)

// newImageInspector creates the reader of images, for containers without a command.
func (s Settings) newImageInspector(vaults *program.Vaults, api *apiserver.Addresses,
	logger logr.Logger) (*ociimage.Images, error) {
	roots, err := trust.NewPool(vaults.ExtraCAs)
	if err != nil {
		return nil, err
	}
	transport := ociimage.NewTransport(s.registries.TransportConfig(roots, api.IsAPIServer))
	azure := ociimage.NewAzureRegistries(ociimage.AzureRegistries{Credential: vaults.Client.Credential,
		Suffix: vaults.Client.Cloud.RegistrySuffix, Transport: transport, Clock: time.Now})
	return ociimage.New(ociimage.Config{Transport: transport, Azure: azure, TagAge: s.registries.TagAge,
		Timeout: s.imageTimeout, Clock: time.Now, Log: logger, Registries: s.registries.Registries()})
}
