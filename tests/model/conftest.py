import pytest
from tiny_transformer import CONFIG, make_inputs, randomise

from posegen.model.transformer import PoseGenTransformer3DModel


@pytest.fixture
def model():
    return randomise(PoseGenTransformer3DModel(**CONFIG)).eval()


@pytest.fixture
def inputs():
    return make_inputs()
