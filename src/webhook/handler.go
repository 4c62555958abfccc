package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/akv2k8s/akv2k8s/src/iplimit"
	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/logkey"
	"github.com/akv2k8s/akv2k8s/src/webhook/review"
)

// Handler answers AdmissionReviews over HTTP. It reserves the memory of a review from the limiter and measures the
// review before it decodes it. The handler of controller-runtime decodes first, accepts YAML, and logs what it cannot
// decode.
func (w *Webhook) Handler(g *iplimit.Limiter) http.Handler {
	hook := &admission.Webhook{Handler: w}
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		held := g.ReserveMemory(r)
		defer held.Release()
		answer, uid, refusal := w.answerReview(hook, r, held)
		if refusal != nil {
			refusal.writeTo(out, uid)
			return
		}
		// The decoded review is garbage now; only the answer is held until the client has read it.
		if held.Resize(int64(len(answer))) {
			writeAnswer(out, http.StatusOK, answer)
		}
	})
}

// rejection is an HTTP status code and a message for a review that is not decoded or not answered.
type rejection struct {
	code    int
	message string
}

// answerReview reads, measures and decodes the review, and returns the encoded answer. With a refusal it also returns
// the UID of the request, if the body had one.
func (w *Webhook) answerReview(hook *admission.Webhook, r *http.Request,
	held *iplimit.MemoryReservation) (answer []byte, uid string,
	refused *rejection) {
	body, refused := readReview(r, held)
	size, err := review.Check(body)
	switch {
	case refused != nil:
		return nil, size.UID, refused
	case err != nil:
		w.loggerFor(held.IsFromAPIServer()).Info("rejected a review", logkey.Error, err.Error(), logkey.RemoteAddr,
			r.RemoteAddr)
		return nil, size.UID, &rejection{http.StatusRequestEntityTooLarge, err.Error()}
	case !held.Resize(int64(cap(body)) + size.MemoryBytes):
		return nil, size.UID, tooManyRequests()
	}
	in := admissionv1.AdmissionReview{}
	if utiljson.Unmarshal(body, &in) != nil || in.Request == nil || in.Kind != "AdmissionReview" {
		return nil, "", &rejection{http.StatusBadRequest, "the request is not an AdmissionReview"}
	}
	ctx, cancel := withReviewDeadline(r.Context(), r)
	defer cancel()
	response := hook.Handle(withTrust(ctx, held.IsFromAPIServer()), admission.Request{AdmissionRequest: *in.Request})
	in.Request, in.Response = nil, &response.AdmissionResponse
	if answer, err = json.Marshal(in); err != nil {
		return nil, size.UID, &rejection{http.StatusInternalServerError, "the answer could not be encoded"}
	}
	return answer, size.UID, nil
}

// readReview reads the body and reserves its memory as the bytes arrive. It ignores Content-Length, so that a client
// cannot reserve memory that it does not send.
func readReview(r *http.Request, held *iplimit.MemoryReservation) ([]byte, *rejection) {
	tooLarge := &rejection{http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the request is larger than %s; make the pod smaller", limits.Bytes(limits.ReviewBytes))}
	switch encoding := r.Header.Get("Content-Encoding"); {
	case r.Method != http.MethodPost:
		return nil, &rejection{http.StatusMethodNotAllowed, "the method must be POST"}
	case encoding != "" && encoding != "identity":
		return nil, &rejection{http.StatusUnsupportedMediaType, "the body must not be compressed"}
	case r.Header.Get("Content-Type") != "application/json":
		return nil, &rejection{http.StatusUnsupportedMediaType, "the body must be application/json"}
	}
	const first = 16 << 10
	body := make([]byte, 0, first)
	for {
		if len(body) == cap(body) {
			if !held.Resize(int64(3 * cap(body))) { // the old buffer, and the new one of twice its size
				return body, tooManyRequests()
			}
			body = append(make([]byte, 0, min(2*cap(body), limits.ReviewBytes+1)), body...)
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limits.ReviewBytes:
			return body, tooLarge
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, &rejection{http.StatusBadRequest, "the request could not be read"}
		}
	}
}

// tooManyRequests is the refusal of a review for which there is no memory at the moment.
func tooManyRequests() *rejection {
	return &rejection{http.StatusTooManyRequests, "too many requests; retry in a second"}
}

// writeTo sends the refusal. With a UID it is an AdmissionReview, whose message the API server shows to the user.
// Without a UID, and if the API server must try again, it is an HTTP error.
func (f *rejection) writeTo(out http.ResponseWriter, uid string) {
	if f.code == http.StatusTooManyRequests {
		out.Header().Set("Retry-After", "1")
	}
	if uid == "" || f.code == http.StatusTooManyRequests {
		http.Error(out, "akv2k8s: "+f.message, f.code)
		return
	}
	content, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Response: &admissionv1.AdmissionResponse{
			UID: types.UID(uid),
			// The code is an HTTP status from 400 to 503.
			Result: &metav1.Status{Code: int32(f.code), Message: "akv2k8s: " + f.message}, //nolint:gosec // fits
		},
	})
	if err != nil {
		http.Error(out, "akv2k8s: "+f.message, f.code)
		return
	}
	writeAnswer(out, http.StatusOK, content)
}

// writeAnswer writes the answer and limits the time that the client has to read it.
func writeAnswer(out http.ResponseWriter, code int, answer []byte) {
	// httptest.ResponseRecorder does not support deadlines, so the error is ignored.
	_ = http.NewResponseController(out).SetWriteDeadline(time.Now().Add(limits.AnswerWriteTime))
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	_, _ = io.Copy(out, bytes.NewReader(answer))
}
