"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  defaultModelRendering: "example",
  displayRequestDuration: true,
  docExpansion: "list",
  filter: false,
  persistAuthorization: false,
  requestSnippetsEnabled: true,
  syntaxHighlight: { theme: "idea" },
  tryItOutEnabled: true,
  validatorUrl: null,
});
