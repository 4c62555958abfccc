package acr

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Image is an image without layers.
type Image struct {
	// Entrypoint and Cmd of the image's configuration.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
}

// NewImageRegistry returns an empty registry in memory.
func NewImageRegistry() http.Handler {
	return registry.New(registry.Logger(log.New(io.Discard, "", 0)))
}

// PutImage adds an image to all registries.
func (s *Server) PutImage(repository, tag string, image Image) error {
	reference, err := name.ParseReference("images.local/"+repository+":"+tag, name.Insecure)
	if err != nil {
		return err
	}
	made, err := mutate.ConfigFile(empty.Image,
		&v1.ConfigFile{OS: "linux", Architecture: "amd64",
			Config: v1.Config{Entrypoint: image.Entrypoint, Cmd: image.Cmd}})
	if err != nil {
		return err
	}
	return remote.Write(reference, made, remote.WithTransport(handlerTransport{s.Images}))
}

// handlerTransport is a transport that calls a handler without a network.
type handlerTransport struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (w handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w.ServeHTTP(recorder, r)
	response := recorder.Result()
	response.Request = r
	return response, nil
}
