import { describe, expect, test } from 'vitest';
import { ModelConfigError, ModelUnsupportedError } from '../../../src/image-embedding/model/model-errors.js';
import { readPreprocessorConfig } from '../../../src/image-embedding/model/preprocessor-config.js';

const read = (config: Record<string, unknown>) => readPreprocessorConfig(config, 'preprocessor_config.json').spec;

describe('readPreprocessorConfig()', () => {
  test('reads CLIP, old and new form alike', () => {
    const spec = read({
      image_processor_type: 'CLIPImageProcessor',
      size: { shortest_edge: 224 },
      crop_size: { height: 224, width: 224 },
    });
    expect(spec).toEqual({
      resize: { shortestEdge: 224 },
      resample: 'bicubic',
      crop: { width: 224, height: 224 },
      rescale: 1 / 255,
      mean: [0.48145466, 0.4578275, 0.40821073],
      std: [0.26862954, 0.26130258, 0.27577711],
      output: { width: 224, height: 224 },
      layout: 'chw',
      dtype: 'float32',
    });
    expect(read({ feature_extractor_type: 'CLIPFeatureExtractor', size: 224, crop_size: 224 })).toEqual(spec);
    expect(read({ image_processor_type: 'CLIPImageProcessorFast' })).toEqual(spec);
  });

  test('passes over the members of a size that are null', () => {
    const image_processor_type = 'ViTImageProcessor';
    const size = { height: 224, width: 224, shortest_edge: null, longest_edge: null };
    expect(read({ image_processor_type, size })).toMatchObject({ resize: { width: 224, height: 224 } });
    const shortest = { height: null, width: null, shortest_edge: 256 };
    expect(read({ image_processor_type: 'BitImageProcessor', size: shortest })).toMatchObject({
      resize: { shortestEdge: 256 },
    });
  });

  test('reads SigLIP and ViT as stretching to the size', () => {
    const siglip = read({ image_processor_type: 'SiglipImageProcessor', size: { height: 384, width: 384 } });
    expect(siglip).toMatchObject({ resize: { width: 384, height: 384 }, resample: 'bicubic', crop: undefined });
    expect(siglip).toMatchObject({ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], output: { width: 384, height: 384 } });
    const vit = read({ feature_extractor_type: 'ViTFeatureExtractor', size: 224 });
    expect(vit).toMatchObject({ resize: { width: 224, height: 224 }, resample: 'bilinear', crop: undefined });
  });

  test('reads DINOv2, which BitImageProcessor describes', () => {
    const spec = read({
      image_processor_type: 'BitImageProcessor',
      size: { shortest_edge: 256 },
      crop_size: { height: 224, width: 224 },
      image_mean: [0.485, 0.456, 0.406],
      image_std: [0.229, 0.224, 0.225],
    });
    expect(spec).toMatchObject({
      resize: { shortestEdge: 256 },
      crop: { width: 224, height: 224 },
      resample: 'bicubic',
    });
    expect(spec.mean).toEqual([0.485, 0.456, 0.406]);
  });

  test('reads ConvNext below 384 as a crop of size out of size / crop_pct, and from 384 on as stretching', () => {
    const small = read({
      image_processor_type: 'ConvNextImageProcessor',
      size: { shortest_edge: 224 },
      crop_pct: 0.875,
    });
    expect(small).toMatchObject({ resize: { shortestEdge: 256 }, crop: { width: 224, height: 224 } });
    const large = read({ image_processor_type: 'ConvNextImageProcessor', size: { shortest_edge: 384 } });
    expect(large).toMatchObject({ resize: { width: 384, height: 384 }, crop: undefined });
    const old = read({ feature_extractor_type: 'ConvNextFeatureExtractor', size: 224, crop_pct: 0.95 });
    expect(old.resize).toEqual({ shortestEdge: 235 });
  });

  test('reads the MobileNet processors, without normalisation where it is off', () => {
    const spec = read({ image_processor_type: 'MobileNetV2ImageProcessor', size: { shortest_edge: 256 } });
    expect(spec).toMatchObject({
      resize: { shortestEdge: 256 },
      crop: { width: 224, height: 224 },
      mean: [0.5, 0.5, 0.5],
    });
    const plain = read({ image_processor_type: 'MobileNetV1ImageProcessor', do_normalize: false });
    expect(plain).toMatchObject({ mean: [0, 0, 0], std: [1, 1, 1], rescale: 1 / 255 });
  });

  test('turns mean and std round for a model of BGR planes', () => {
    const { spec, channels } = readPreprocessorConfig(
      { image_processor_type: 'CLIPImageProcessor', do_flip_channel_order: true, image_mean: [1, 2, 3] },
      'file',
    );
    expect(channels).toBe('bgr');
    expect(spec.mean).toEqual([3, 2, 1]);
  });

  test('reads an unknown class that spells everything out, and refuses one that does not', () => {
    const config = { image_processor_type: 'NewImageProcessor', size: { height: 8, width: 16 }, resample: 0 };
    const colours = { image_mean: [0, 0, 0], image_std: [1, 1, 1] };
    expect(read({ ...config, ...colours })).toMatchObject({ resample: 'nearest', output: { width: 16, height: 8 } });
    expect(() => read(config)).toThrow(ModelUnsupportedError);
    expect(() => read(config)).toThrow('image_mean, image_std');
  });

  test.each([
    [{ size: 'large' }, 'size'],
    [{ size: { shortest_edge: 0 } }, 'size'],
    [{ size: { height: 224 } }, 'size'],
    [{ image_std: [1, 1] }, 'image_std'],
    [{ image_std: [1, 0, 1] }, 'image_std'],
    [{ rescale_factor: 'a' }, 'rescale_factor'],
  ])('refuses %j with what was expected', (fields, name) => {
    const act = () => read({ image_processor_type: 'CLIPImageProcessor', ...fields });
    expect(act).toThrow(ModelConfigError);
    expect(act).toThrow(`${name} must be`);
  });

  test.each([[{ do_pad: true }], [{ resample: 5 }], [{ size: { longest_edge: 512 } }], [{ do_center_crop: false }]])(
    'refuses %j as not supported',
    (fields) => {
      expect(() => read({ image_processor_type: 'CLIPImageProcessor', ...fields })).toThrow(ModelUnsupportedError);
    },
  );

  describe('of a class that is not known', () => {
    const spelt = {
      image_processor_type: 'NewImageProcessor',
      size: { height: 8, width: 16 },
      resample: 3,
      image_mean: [0, 0, 0],
      image_std: [1, 1, 1],
    };

    test.each([
      [{ include_top: true }, 'include_top'],
      [{ crop_pct: 0.9 }, 'crop_pct'],
      [{ do_resize_crop_pct: true }, 'do_resize_crop_pct'],
      [{ rescale_offset: true }, 'rescale_offset'],
      [{ do_grayscale: true }, 'do_grayscale'],
      [{ size_divisor: 32 }, 'size_divisor'],
      [{ resize_mode: 'squash' }, 'resize_mode'],
      [{ do_thumbnail: 1 }, 'do_thumbnail'],
      [{ pad_size: { height: 8, width: 8 } }, 'pad_size'],
      [{ zero: 0 }, 'zero'],
      [{ size: 224 }, 'size'],
    ])('refuses %j, which is not understood', (fields, name) => {
      const act = () => read({ ...spelt, ...fields });
      expect(act).toThrow(ModelUnsupportedError);
      expect(act).toThrow(name);
    });

    test('passes over what is turned off, and what changes no pixel', () => {
      const idle = {
        rescale_offset: false,
        do_grayscale: false,
        do_pad: null,
        pad_size: null,
        do_convert_rgb: true,
        data_format: 'channels_first',
        return_tensors: 'pt',
        processor_class: 'NewProcessor',
        do_reduce_labels: true,
        _valid_processor_keys: ['images'],
      };
      expect(read({ ...spelt, ...idle })).toEqual(read(spelt));
    });
  });

  test('refuses a step of a known class that is not known, and passes over values that the class has no use for', () => {
    const image_processor_type = 'ViTImageProcessor';
    expect(() => read({ image_processor_type, do_sharpen: true })).toThrow(ModelUnsupportedError);
    expect(read({ image_processor_type, crop_pct: 0.9, size: 224 })).toEqual(read({ image_processor_type }));
  });
});
