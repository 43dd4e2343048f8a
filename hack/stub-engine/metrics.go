package main

import (
	"fmt"
	"net/http"
)

type metric struct {
	name, kind, labels string
	value              int64
}

// metrics speaks in the names of the engine that --metrics-flavour chose.
func (e *engine) metrics(w http.ResponseWriter, _ *http.Request) {
	for _, m := range e.measured() {
		fmt.Fprintf(w, "# TYPE %s %s\n%s%s %d\n", m.name, m.kind, m.name, m.labels, m.value)
	}
}

func (e *engine) measured() []metric {
	running, done, tokens := e.running.Load(), e.done.Load(), e.tokensN.Load()
	model := fmt.Sprintf("{model_name=%q}", e.model)
	switch e.metricsFlavour {
	case "sglang":
		return []metric{
			{"sglang:num_running_reqs", "gauge", model, running},
			{"sglang:num_queue_reqs", "gauge", model, 0},
			{"sglang:token_usage", "gauge", model, 0},
			{"sglang:generation_tokens_total", "counter", model, tokens},
			{"sglang:num_requests_total", "counter", model, done},
		}
	case "llamacpp":
		return []metric{
			{"llamacpp:requests_processing", "gauge", "", running},
			{"llamacpp:requests_deferred", "gauge", "", 0},
			{"llamacpp:tokens_predicted_total", "counter", "", tokens},
		}
	}
	return []metric{
		{"vllm:num_requests_running", "gauge", model, running},
		{"vllm:num_requests_waiting", "gauge", model, 0},
		{"vllm:kv_cache_usage_perc", "gauge", model, 0},
		{"vllm:generation_tokens_total", "counter", model, tokens},
		{"vllm:request_success_total", "counter", fmt.Sprintf("{finished_reason=\"stop\",model_name=%q}", e.model), done},
	}
}
