package broker_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

func TestAnAnswerNamesTheReplica(t *testing.T) {
	server := httptest.NewServer(newBrokerTest(t).broker)
	defer server.Close()
	response, err := http.Post(server.URL+wire.ResolvePath, "application/json", nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, server.Listener.Addr().String(), response.Header.Get(wire.HeaderReplica))
}
