FROM python:3.13-slim AS build
COPY . /src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /src

FROM python:3.13-slim
COPY --from=build /wheels /wheels
# The first parse builds the tables of HCL's grammar, a second's work, and keeps them in the image.
RUN pip install --no-cache-dir /wheels/*.whl \
    && python -c 'import hcl2; hcl2.parses_to_tree("")' \
    && useradd --system --uid 10001 gateway
USER 10001
EXPOSE 8080
ENTRYPOINT ["a3s-gateway"]
CMD ["--config", "/etc/a3s-gateway/gateway.hcl"]
