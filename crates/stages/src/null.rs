//! `null`: takes everything and keeps nothing. The report still counts what came in.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statline_pipeline::{
    Declare, Errors, InputPort, Kind, Message, Opening, PublishOrder, Sink, StageError,
};

use crate::row_input::{AnyInput, RowInput};

/// Options of `null`: there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct NullConfig {}

/// The kind `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl Kind for Null {
    type Config = NullConfig;
    type Ports = AnyInput;

    fn about(&self) -> &'static str {
        "counts rows and throws them away"
    }

    fn declare(&self, _: Option<&NullConfig>, ports: &mut Declare<'_>) -> AnyInput {
        AnyInput::declare(ports)
    }

    fn open(
        &self,
        _: NullConfig,
        input: AnyInput,
        stage: &mut Opening<'_>,
    ) -> Result<(), StageError> {
        match input {
            AnyInput::Rows(RowInput::Records(port)) => discard(stage, &port),
            AnyInput::Rows(RowInput::Entries(port)) => discard(stage, &port),
            AnyInput::Errors(port) => discard(stage, &port),
        }
    }
}

fn discard<M: Message>(stage: &mut Opening<'_>, input: &InputPort<M>) -> Result<(), StageError> {
    stage.sink(input, PublishOrder::Output, Discard(PhantomData))
}

struct Discard<M>(PhantomData<fn() -> M>);

impl<M: Message> Sink for Discard<M> {
    type In = M;

    fn write(&mut self, _: M, _: &Errors) -> Result<(), StageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use statline_pipeline::{Builder, Outcome};

    use super::*;
    use crate::fixtures::{Given, entries};

    #[test]
    fn what_is_thrown_away_is_counted() {
        let mut builder = Builder::new("test");
        let batches = vec![entries(&[b"a", b"b"]), entries(&[b"c"])];
        let source = builder.stage("in", Given::all(batches), ()).done();
        let _ = builder.stage("out", Null, NullConfig {}).reads(&source);
        let report = builder.build().unwrap().run();
        assert_eq!(report.outcome, Outcome::Complete);
        let out = report.stages.iter().find(|stage| stage.name == "out");
        assert_eq!(out.unwrap().items_in, 3);
    }
}
