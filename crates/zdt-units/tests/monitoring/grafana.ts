// A dashboard as Grafana takes it from a file: its own types, with enumerations as the words that they are in JSON.
import type { AnnotationQuery, Dashboard, DataSourceRef, FieldConfigSource, Panel } from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Json<T> = T extends string
  ? `${T}`
  : T extends Array<infer Item>
    ? Array<Json<Item>>
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

// The query of the Prometheus plugin, which the package leaves out.
interface Target {
  datasource: DataSourceRef;
  expr: string;
  legendFormat?: string;
  refId: string;
  format?: "table" | "time_series" | "heatmap";
  instant?: boolean;
  range?: boolean;
}

interface Annotation extends Json<Omit<AnnotationQuery, "target">> {
  expr: string;
  titleFormat?: string;
  textFormat?: string;
  step?: string;
  useValueForTime?: boolean;
}

type Shown<Type extends string, Options, Field> = Required<Pick<Panel, "id" | "title" | "gridPos">> &
  Json<Omit<Panel, "id" | "title" | "gridPos" | "type" | "options" | "targets" | "fieldConfig">> & {
    type: Type;
    options?: Partial<Json<Options>>;
    targets: Array<Target>;
    fieldConfig: Json<FieldConfigSource<Partial<Json<Field>>>>;
  };

export interface File extends Omit<Json<Dashboard>, "panels" | "annotations" | "templating"> {
  schemaVersion: number;
  uid: string;
  title: string;
  templating: Json<Required<Dashboard>["templating"]>;
  annotations: { list: Array<Annotation> };
  panels: Array<
    | Shown<"stat", stat.Options, object>
    | Shown<"table", table.Options, object>
    | Shown<"timeseries", timeseries.Options, timeseries.FieldConfig>
  >;
}
