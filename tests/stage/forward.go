package stage

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward leads a local port to a port of a pod until the context ends, and gives its address.
func (s *Stage) Forward(ctx context.Context, namespace, pod string, port int) (string, error) {
	transport, upgrader, err := spdy.RoundTripperFor(s.REST)
	if err != nil {
		return "", fmt.Errorf("forwarding to %s: %w", pod, err)
	}
	url := s.Kube.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	ready := make(chan struct{})
	forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost,
		url),
		[]string{"0:" + strconv.Itoa(port)}, ctx.Done(), ready, io.Discard, io.Discard)
	if err != nil {
		return "", fmt.Errorf("forwarding to %s: %w", pod, err)
	}
	failed := make(chan error, 1)
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		return "", fmt.Errorf("forwarding to %s: %w", pod, err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", fmt.Errorf("forwarding to %s: %w", pod, err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), nil
}
