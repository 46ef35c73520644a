FROM python:3.13-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.13-slim
COPY --from=build /wheels /wheels
# The tables of HCL's grammar are a second's work that every container would do at its start.
RUN pip install --no-cache-dir /wheels/*.whl \
    && python -m a3s_gateway.hcl.grammar \
    && useradd --system --uid 10001 gateway
USER 10001
EXPOSE 8080
ENTRYPOINT ["a3s-gateway"]
CMD ["--config", "/etc/a3s-gateway/gateway.hcl"]
