// Validates the OpenAPI document with swagger-parser.

import SwaggerParser from "@apidevtools/swagger-parser";

await SwaggerParser.validate("openapi.json");
console.log("valid");
