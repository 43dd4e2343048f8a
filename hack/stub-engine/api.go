package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type request struct {
	Model     string          `json:"model"`
	Stream    bool            `json:"stream"`
	MaxTokens int             `json:"max_tokens"`
	Prompt    json.RawMessage `json:"prompt"`
	Messages  json.RawMessage `json:"messages"`
	Options   struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func (e *engine) models(w http.ResponseWriter, _ *http.Request) {
	entry := map[string]any{"id": e.model, "object": "model", "created": e.started.Unix(), "owned_by": "stub", "max_model_len": 4096}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{entry}})
}

func (e *engine) chat(w http.ResponseWriter, r *http.Request) {
	e.answer(w, r, "chat.completion", func(text string, last bool) map[string]any {
		choice := map[string]any{"index": 0, "delta": map[string]any{"content": text}, "finish_reason": nil}
		if last {
			choice["delta"], choice["finish_reason"] = map[string]any{}, "stop"
		}
		return choice
	}, func(text string) map[string]any {
		return map[string]any{"index": 0, "message": map[string]any{"role": "assistant", "content": text}, "finish_reason": "stop"}
	})
}

func (e *engine) complete(w http.ResponseWriter, r *http.Request) {
	e.answer(w, r, "text_completion", func(text string, last bool) map[string]any {
		choice := map[string]any{"index": 0, "text": text, "finish_reason": nil}
		if last {
			choice["finish_reason"] = "stop"
		}
		return choice
	}, func(text string) map[string]any {
		return map[string]any{"index": 0, "text": text, "finish_reason": "stop"}
	})
}

func (e *engine) answer(w http.ResponseWriter, r *http.Request, object string, part func(string, bool) map[string]any, whole func(string) map[string]any) {
	var asked request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20)).Decode(&asked); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"message": "invalid JSON: " + err.Error()}})
		return
	}
	if asked.Model != e.model {
		message := fmt.Sprintf("The model `%s` does not exist.", asked.Model)
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{"message": message, "type": "NotFoundError", "code": 404}})
		return
	}
	count := e.tokens
	if asked.MaxTokens > 0 && asked.MaxTokens < count {
		count = asked.MaxTokens
	}
	e.running.Add(1)
	defer e.running.Add(-1)
	id := fmt.Sprintf("cmpl-%s-%d", e.host, e.asked.Add(1))
	base := map[string]any{"id": id, "object": object, "created": time.Now().Unix(), "model": e.model}
	usage := map[string]any{"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
	if asked.Stream {
		e.stream(w, r, base, part, count, usage, asked.Options.IncludeUsage)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if e.mutes(w, r, count) {
		return
	}
	var text strings.Builder
	for n := range count {
		if !e.pause(r) {
			return
		}
		text.WriteString(e.token(n))
	}
	base["choices"], base["usage"] = []any{whole(text.String())}, usage
	e.done.Add(1)
	writeJSON(w, http.StatusOK, base)
}

func (e *engine) stream(w http.ResponseWriter, r *http.Request, base map[string]any, part func(string, bool) map[string]any, count int, usage map[string]any, withUsage bool) {
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	if base["object"] == "chat.completion" {
		base["object"] = "chat.completion.chunk"
	}
	send := func(choices []any) {
		base["choices"] = choices
		line, _ := json.Marshal(base)
		fmt.Fprintf(w, "data: %s\n\n", line)
		flusher.Flush()
	}
	for n := range count {
		if e.mutes(w, r, n) || !e.pause(r) {
			return
		}
		send([]any{part(e.token(n), false)})
	}
	if e.mutes(w, r, count) {
		return
	}
	send([]any{part("", true)})
	if withUsage {
		base["usage"] = usage
		send([]any{})
	}
	e.done.Add(1)
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// pause waits for the next token; false when the caller has gone.
func (e *engine) pause(r *http.Request) bool {
	select {
	case <-r.Context().Done():
		return false
	case <-time.After(time.Duration(float64(time.Second) / e.tokensPerSecond)):
		return true
	}
}

func (e *engine) token(n int) string {
	e.tokensN.Add(1)
	return fmt.Sprintf("token%d ", n)
}
