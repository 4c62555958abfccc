package injector

import (
	"context"
	"encoding/json"

	"github.com/akv2k8s/akv2k8s/src/fault"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// Checker checks whether references can be resolved, without returning their values. It returns the host:port of the
// auth-service replica that has them in its cache afterwards.
type Checker interface {
	Check(ctx context.Context, references map[string]string) (replica string, err error)
}

// checkReferences waits until the references of all containers of the pod can be resolved, or returns the reason why
// they can't. The init container runs it: a pod whose init container has not ended is not ready, whatever its probes,
// so a rolling update waits and the old pods keep serving.
func (c Config) checkReferences(ctx context.Context, checker func() (Checker, error)) (replica string, err error) {
	text := valueOf(c.Environ, wire.EnvCheckReferences)
	if text == "" {
		return "", nil
	}
	var references map[string]string
	if json.Unmarshal([]byte(text), &references) != nil {
		return "", fault.New(fault.Invalid,
			"%s is not a JSON object; recreate the pod so that the env-injector writes it", wire.EnvCheckReferences)
	}
	p, err := readRetryPolicy(c.Environ)
	if err != nil {
		return "", err
	}
	p.maxWait = initContainerMaxWait
	asked, err := checker()
	if err != nil {
		return "", err
	}
	err = c.retryAttempts(ctx, p, func(ctx context.Context) error {
		var err error
		replica, err = asked.Check(ctx, references)
		return err
	})
	return replica, err
}
