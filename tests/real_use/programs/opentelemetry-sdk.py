from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
print(trace.get_tracer("x").start_span("s").name)
